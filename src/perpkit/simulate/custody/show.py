"""The play: a withdrawal from the request to the block, then everything that thieves try."""

from collections.abc import Callable, Iterator

from perpkit.custody.desk import codec
from perpkit.engine.exchange import Outcome
from perpkit.model.command import RequestWithdrawal
from perpkit.ports.custody.chain import Output
from perpkit.simulate.custody.company import ADA, CONFIRMATIONS, Company
from perpkit.simulate.custody.telling import coins, of_event, of_step
from perpkit.simulate.custody.thefts import Theft, thefts
from perpkit.simulate.custody.world import HSM_KEY, THRESHOLD, World
from perpkit.units import HOUR_NS, Nanos, Units

Say = Callable[[str, str], None]
"""Shows one line: who, and what they do."""

DEPOSIT_UNITS: Units = 200_000_000
WITHDRAWAL_UNITS: Units = 150_000_000


class Show:
    """Plays over a world, and says what everybody does.

    Args:
        say: called for each line.
    """

    def __init__(self, world: World, say: Say) -> None:
        self.company: Company = Company(world)
        self._say = say
        self._told = 0
        self.company.venue.subscribe(self._exchange)

    def withdrawal(self) -> str:
        """Let Ada's money in and out again; return the id of the transaction that paid her."""
        company, chain = self.company, self.company.world.chain
        address = company.desk.deposit_address(ADA)
        self._say("ada", f"pays {coins(DEPOSIT_UNITS)} to {address}, an address of hers alone")
        chain.pay(company.world.wallet().script_of(address), DEPOSIT_UNITS)
        self._mine(CONFIRMATIONS)
        payee = company.world.wallet().address_of(company.world.payee("ada"))
        company.introduce(1, payee)
        self._say("ada", f"names {payee} as where her money may go; uma of support has her on the telephone")
        self._wait(25 * HOUR_NS)
        self.request(1, WITHDRAWAL_UNITS)
        withdrawal = company.desk.withdrawals[1]
        for _ in range(20):
            if withdrawal.mined:
                break
            self._work()
            self._mine(1)
        assert withdrawal.mined, f"withdrawal 1 did not arrive: {withdrawal.state}, {withdrawal.waiting}"
        company.venue.reconcile()
        return withdrawal.mined_txid.hex()

    def robbery(self) -> Iterator[Theft]:
        """Ask for a second withdrawal, stop when it may be signed, and let thieves at it, one after the other."""
        company, chain = self.company, self.company.world.chain
        chain.pay(company.world.wallet().script_of(company.desk.deposit_address(ADA)), DEPOSIT_UNITS)
        self._mine(CONFIRMATIONS)
        self.request(2, WITHDRAWAL_UNITS)
        withdrawal = company.desk.withdrawals[2]
        for _ in range(10):
            if withdrawal.draft and withdrawal.draft.release:
                break
            self._work()
            self._mine(1)
        yield from thefts(company, withdrawal)

    def collusion(self) -> None:
        """Let as many key holders as it takes, and whoever unlocks the HSM, steal together, outside of all this."""
        company, world = self.company, self.company.world
        coin = world.chain.coins(company.wallet.scripts(), world.chain.tip())[0]
        loot = Output(world.payee("thief"), coin.output.amount_units)
        theft = company.wallet.build(loot, [coin], change=0, fee_rate=2_000)
        partials = {key: world.partial(key, theft) for key in (*company.wallet.keys[:THRESHOLD], HSM_KEY)}
        world.chain.broadcast(company.wallet.finalize(theft, partials))
        self._say("thieves", f"three key holders and whoever unlocks the HSM take {coins(coin.output.amount_units)}")
        self._mine(CONFIRMATIONS)
        company.venue.reconcile()

    def request(self, number: int, amount_units: Units) -> None:
        """Let Ada ask for money."""
        self._say("ada", f"asks the exchange for {coins(amount_units)}")
        company = self.company
        company.venue.submit(
            RequestWithdrawal(
                withdrawal_id=number, account=ADA, asset=company.asset, amount_units=amount_units, destination=1
            )
        )
        self._poll()

    def _work(self) -> None:
        """Let everybody do what they are asked to."""
        self.company.staff.attend(self.company.desk)
        self._poll()

    def _mine(self, blocks: int) -> None:
        self.company.mine(blocks)
        self._poll()

    def _wait(self, how_long_ns: Nanos) -> None:
        self.company.clock.now_ns += how_long_ns
        self._mine(1)

    def _poll(self) -> None:
        self.company.venue.poll()
        self._tell()

    def _tell(self) -> None:
        for entry in self.company.log.entries(self._told):
            self._told = entry.number
            if line := of_step(codec.decode(entry.kind, entry.body)):
                self._say(*line)

    def _exchange(self, _time_ns: Nanos, outcome: Outcome) -> None:
        self._tell()
        for event in outcome.events:
            if text := of_event(event):
                self._say("exchange", text)
