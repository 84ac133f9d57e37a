"""A move of clients' money from the cold wallet to the hot one: what tells it from a withdrawal, and where it leads."""

from perpkit.ports.custody.policy import Request
from perpkit.ports.custody.wallet import Owner, Purpose, WalletBackend

COLD = "cold"
HOT = "hot"
"""The wallet whose keys are online by nature. What it may lose, the policy has to cap."""
CHANGE = Owner(Purpose.CHANGE, 0)
HOUSE = Owner(Purpose.HOUSE, 0)


def is_move(request: Request) -> bool:
    """Say whether a request keeps the money in the house."""
    return request.target == HOT


def script_of_move(hot: WalletBackend, withdrawal_id: int) -> bytes:
    """Return where a move leads: to an address of the hot wallet's own change, where it is nobody's deposit.

    The index follows from the move's number, so that everybody derives that one script and need not believe the desk.

    Raises:
        CustodyError: it is not the number of a move, which is below 0, or there is no such index.
    """
    return hot.script(CHANGE, -1 - withdrawal_id)
