"""Which coins pay, and what a transaction will weigh before anybody has signed it."""

from collections.abc import Collection, Sequence

from perpkit.errors import CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.units import Units, div_ceil
from perpkit_bitcoin.transaction import compact, output_bytes

WEIGHT_MAX = 400_000
"""The network relays nothing heavier."""

SIGNATURE_BYTES = 73
"""A signature at its longest, with r in the upper half, the mark of SIGHASH_ALL, and its own length."""


def choose(coins: Sequence[Coin], amount_units: Units, spend: Collection[Outpoint]) -> tuple[list[Coin], Units]:
    """Return the coins that pay an amount, and what is left of them: nothing, or enough for an output of change.

    First those that must be spent, then the largest first, so that few inputs are paid for; equal ones by outpoint.
    The same coins always give the same answer, in whatever order they come.

    Raises:
        CustodyError: they do not suffice.
    """
    by_outpoint = {coin.outpoint: coin for coin in coins}
    missing = sorted(set(spend) - by_outpoint.keys())
    if missing:
        raise CustodyError(f"expected the coin {named(missing[0])} among those that may be spent; it is not")
    forced = [by_outpoint.pop(outpoint) for outpoint in sorted(set(spend))]
    largest = sorted(by_outpoint.values(), key=lambda coin: (-coin.output.amount_units, coin.outpoint))
    chosen: list[Coin] = []
    left = -amount_units
    for coin in [*forced, *largest]:
        if len(chosen) >= len(forced) and enough(left):
            break
        chosen.append(coin)
        left += coin.output.amount_units
    if not enough(left):
        total = left + amount_units
        raise CustodyError(
            f"expected coins of {amount_units} units, or of {amount_units + CHANGE_DUST_UNITS} and more so that an"
            f" output of change can be made; all {len(chosen)} together have {total}"
        )
    return chosen, left


def enough(left: Units) -> bool:
    """Say whether what is left can stay in the wallet."""
    return left == 0 or left >= CHANGE_DUST_UNITS


def dust_units(script: bytes) -> Units:
    """Return the least that an output of a script must hold for the network to relay it.

    Source:
        Bitcoin Core: three units for each byte of the output and of the input that will spend it.
    """
    spending = 67 if is_witness_program(script) else 148
    return 3 * (len(output_bytes(Output(script, 0))) + spending)


def is_witness_program(script: bytes) -> bool:
    """Say whether a script is a version and a program of 2 to 40 bytes."""
    return 4 <= len(script) <= 42 and script[0] in (0, *range(0x51, 0x61)) and script[1] == len(script) - 2


CHANGE_DUST_UNITS = dust_units(b"\x00\x20" + bytes(32))


def witness_bytes(script: bytes, signatures: int) -> int:
    """Return what the witness of an input takes at most: a count, an empty item, signatures and the script."""
    return 1 + 1 + signatures * SIGNATURE_BYTES + len(compact(len(script))) + len(script)


def weight(witnesses: Sequence[int], outputs: Sequence[Output]) -> int:
    """Return the weight of a transaction with witnesses of some sizes."""
    inputs = len(compact(len(witnesses))) + 41 * len(witnesses)
    base = 8 + inputs + len(compact(len(outputs))) + sum(len(output_bytes(each)) for each in outputs)
    return 4 * base + 2 + sum(witnesses)


def virtual_bytes(witnesses: Sequence[int], outputs: Sequence[Output]) -> int:
    """Return the size that fees are paid for.

    Raises:
        CustodyError: the network would not relay it.
    """
    found = weight(witnesses, outputs)
    if found > WEIGHT_MAX:
        raise CustodyError(
            f"expected a transaction of weight {WEIGHT_MAX} at most, {len(witnesses)} inputs weigh {found}; "
            "gather small coins first"
        )
    return div_ceil(found, 4)


def named(outpoint: Outpoint) -> str:
    """Return an outpoint as people write it."""
    return f"{outpoint.txid.hex()}:{outpoint.vout}"
