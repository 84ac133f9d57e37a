"""The embedded vault with people, a policy and a chain keeps every rule that a custody has to keep."""

import attrs

from perpkit.custody.desk.core import DeskTerms
from perpkit.custody.pretend.embedded import EmbeddedVault
from perpkit.custody.setup import NominationTerms, Setup
from perpkit.ports.custody.people import KeyPlace, Person
from perpkit.testing.conformance.custody import (
    APPROVING,
    DURABLE,
    RECEIVE,
    RECOUNTING,
    REORGANISES,
    CustodyConformance,
)
from perpkit.testing.fakes import HandClock
from perpkit.units import HOUR_NS

ROLES = {"ann": "signer", "ben": "signer", "cleo": "signer", "fay": "approver", "igor": "officer"}


def secret(name):
    return name.encode().ljust(32, b".")


def policy(*assets):
    rules = [
        f'[rules.path-{asset.lower()}]\nkind = "path"\nasset = "{asset}"\nsource = "cold"\ntarget = "client"\n'
        f'[rules.quorum-{asset.lower()}]\nkind = "quorum"\nasset = "{asset}"\n'
        "tiers = [{ from_units = 0, roles = { approver = 1 } }]\n"
        for asset in assets
    ]
    return 'version = 1\nname = "conformance"\n' + "".join(rules)


def setup(*assets):
    return Setup(
        people={name: Person(name=name, roles=frozenset({role}), public=secret(name)) for name, role in ROLES.items()},
        keys=tuple(
            KeyPlace(key=name, wallet="cold", person=name, place=name, online=False, public=secret(f"key {name}"))
            for name in ("ann", "ben", "cleo")
        ),
        policy=policy(*assets),
        terms=DeskTerms(confirmations=2, resume_quorum={"officer": 1}),
        nomination=NominationTerms(rounds_ahead=4),
        wallets={"cold": {"threshold": 2, "hsm": True}},
        hsm={"public": secret("hsm").hex()},
    )


class TestEmbeddedVault(CustodyConformance):
    capabilities = frozenset({RECEIVE, DURABLE, APPROVING, RECOUNTING, REORGANISES})
    unit_units = 1_000

    def make(self, context):
        names = [asset.name for asset in context.assets.values()]
        vault = EmbeddedVault(context, setup(*names), clock=HandClock(1_000 * HOUR_NS))
        for number, desk in vault.desks.items():
            address = vault.worlds[number].wallets()["cold"].address_of(b"the client's own script")
            assert desk.add_destination(7, 3, address) is None
            assert desk.add_destination(8, 3, address) is None
        return vault

    def settle(self, custody):
        custody.attend()

    def refuse(self, custody, withdrawal_id):
        desk = custody.desks[1]
        desk.advance()
        custody.clock.turn(desk._core.terms.expiry_ns)

    def take_back(self, custody):
        custody.desks[1].advance()
        world = custody.worlds[1]
        last = max(custody.desks[1]._core.state.deposits.values(), key=lambda deposit: deposit.number)
        world.chain.reorganise(world.chain.tip().height - last.block.height + 1, forget=[last.outpoint.txid])

    def recovered(self, custody):
        for number, world in custody.worlds.items():
            custody.desks[number] = world.desk(custody.log, custody.clock)
        return custody


def test_the_setup_of_the_suite_is_one_that_people_can_use():
    assert attrs.asdict(setup("A").terms)["confirmations"] == 2
