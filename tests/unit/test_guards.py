"""Every guard lets sound answers through as they are, and names the part that gave any other."""

import functools
from types import SimpleNamespace

import attrs
import pytest

from perpkit.engine import guard
from perpkit.errors import PartFaultError
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.order import Match, MatchPlan, Order, SelfTrade, Side, TimeInForce
from perpkit.model.position import Breach, Exposure, Need, Pool, SlotNeed, Thresholds, Winner
from perpkit.model.price import IndexPrice, LeftOut, Mark, PriceState, PricingInputs, SourceReading
from perpkit.plugin import PORTS
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.ports.insurance import FundMove, Loss
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, Settled, TakeOver
from perpkit.units import SCALE

GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
LOW, HIGH, NOW_NS = 1, 10_000, 50
MARKETS = {
    number: SimpleNamespace(id=number, name=f"PERP-{number}", price_min_ticks=LOW, price_max_ticks=HIGH)
    for number in (1, 2)
}
ACME = guard.Guard(7, "acme's part")
GUARDS = {
    "margin": lambda part: guard.GuardedMargin(part, ACME, SimpleNamespace(markets=MARKETS)),
    "fees": lambda part: guard.GuardedFees(part, ACME),
    "order_checks": lambda part: guard.GuardedCheck(part, ACME),
    "liquidation": lambda part: guard.GuardedLiquidation(part, ACME, SimpleNamespace(markets=MARKETS)),
    "deleveraging": lambda part: guard.GuardedDeleveraging(part, ACME),
    "index_price": lambda part: guard.GuardedIndex(part, ACME, MARKETS[1]),
    "mark_price": lambda part: guard.GuardedMark(part, ACME, MARKETS[1]),
    "funding": lambda part: guard.GuardedFunding(part, ACME),
    "insurance": lambda part: guard.GuardedInsurance(part, ACME),
    "book": lambda part: guard.GuardedBook(part, ACME, fills_max=3),
}


class Part:
    """Gives one answer to a question however often it is asked; an exception it raises."""

    own_book_free = True

    def __init__(self, **answers):
        self._answers = {"funds": (1, 2), **answers}

    def __getattr__(self, member):
        def say(*_given):
            answer = self._answers[member]
            if isinstance(answer, BaseException):
                raise answer
            return answer

        say.__name__ = member
        return say


@attrs.frozen
class Question:
    """What a part is given, which answers are sound, and which are not."""

    given: tuple
    sound: tuple
    garbage: dict


def each(field, sound, wrong):
    """Return a sound record spoiled in one field, once for each wrong value."""
    return {f"{field} is {what}": attrs.evolve(sound, **{field: value}) for what, value in wrong.items()}


NO_INTEGER = {"nothing": None, "a bool": True, "a float": 1.0, "text": "1", "63 bits": 1 << 62}
NO_AMOUNT = {**NO_INTEGER, "negative": -1}
NO_SIZE = {**NO_AMOUNT, "0": 0}
NO_RATE = {**NO_INTEGER, "above 1": SCALE + 1, "below -1": -SCALE - 1, "a fraction": 0.01}
NO_PRICE = {**NO_AMOUNT, "above the listed": HIGH + 1, "no int, but 0": 0.0}
NO_RECORD = {"nothing": None, "text": "yes", "a number": 7}
NO_STATE = {"nothing": None, "text": "{}", "a bytearray": bytearray(), "a view": memoryview(b"")}
NO_MARKET = {"another": 2, "a bool": True, "a float": 1.0}
NO_STAMP = {"earlier": NOW_NS - 1, "a float": float(NOW_NS)}

# Account 1 is long 10 on cross margin in market 1, short 4 on isolated margin in market 2, and owes 3 there.
LONG = Exposure(market=1, position_id=0, size_lots=10, cost_units=1_000, gross_lots=10)
SHORT = Exposure(market=2, position_id=1, size_lots=-4, cost_units=-400, gross_lots=4, isolated_units=40)
OWING = Exposure(market=2, position_id=9, size_lots=0, cost_units=0, gross_lots=4, unpaid_units=3)
POOL = Pool(account=1, asset=1, wallet_units=500, reserved_units=0, exposures=(LONG, SHORT))
CROSS = SlotNeed(market=1, position_id=0, maintenance_units=50)
ALONE = SlotNeed(market=2, position_id=1, maintenance_units=20, equity_units=-1)
NEED = Need(equity_units=-500, initial_units=100, maintenance_units=50, slots=(CROSS, ALONE))
PRICES = Thresholds(liquidation_ticks=LOW, bankruptcy_ticks=HIGH)
NO_PRICES = Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)
NO_SLOTS = {
    "nothing": None,
    "too short": (CROSS,),
    "too long": (CROSS, ALONE, CROSS),
    "in another order": (ALONE, CROSS),
    "of nothing": (None, ALONE),
    "of another position": (attrs.evolve(CROSS, position_id=1), ALONE),
    "of a negative need": (attrs.evolve(CROSS, maintenance_units=-1), ALONE),
    "without an isolated equity": (CROSS, attrs.evolve(ALONE, equity_units=None)),
    "with an equity of its own for cross": (attrs.evolve(CROSS, equity_units=5), ALONE),
    "of a market that is a float": (attrs.evolve(CROSS, market=1.0), ALONE),
}

# In liquidation the long is bankrupt at 80, and the short cannot be at any listed price.
CASE = Case(
    breach=Breach(account=1, asset=1, equity_units=1, maintenance_units=50),
    pool=attrs.evolve(POOL, exposures=(LONG, SHORT, OWING)),
    need=NEED,
    thresholds={(1, 0): attrs.evolve(PRICES, bankruptcy_ticks=80), (2, 1): NO_PRICES, (2, 9): NO_PRICES},
    marks={},
    steps_done=0,
    stalled=False,
)
CLOSE = CloseOnBook(market=1, position_id=0, size_lots=10, limit_ticks=80)
CLOSE_SHORT = CloseOnBook(market=2, position_id=1, size_lots=4, limit_ticks=HIGH)
TAKE_OVER = TakeOver(market=1, position_id=0, price_ticks=80)
ELSEWHERE = {"market": {"unknown": 3, "another": 2, "a float": 1.0}, "position_id": {"not in the case": 1}}
NO_STEP = {
    **NO_RECORD,
    "a class": Settled,
    "a cancel in a market that is not": CancelOrders(market=3),
    "a close of what is only owed": attrs.evolve(CLOSE_SHORT, position_id=9, size_lots=1),
    "a close above the listed prices": attrs.evolve(CLOSE_SHORT, limit_ticks=HIGH + 1),
    **each("size_lots", CLOSE, NO_SIZE | {"more than is held": 11}),
    **each("limit_ticks", CLOSE, NO_INTEGER | {"past bankruptcy": 79}),
    **each("price_ticks", TAKE_OVER, {"past bankruptcy": 79, "before it": 81, "a float": 80.0}),
    **{what: step for field, wrong in ELSEWHERE.items() for what, step in each(field, CLOSE, wrong).items()},
    "a take-over of nobody": attrs.evolve(TAKE_OVER, position_id=1),
}

# Deleveraging has 6 lots to place, of which one winner bears 5 and the other 3.
WINNER = Winner(
    account=1,
    position_id=0,
    size_lots=9,
    cost_units=0,
    profit_units=1,
    value_units=1,
    equity_units=1,
    bearable_lots=5,
)
OTHER = attrs.evolve(WINNER, account=2, position_id=4, bearable_lots=3)
PLACE_6 = DeleveragingCase(market=1, size_lots=6, price_ticks=80, severity_units=9, winners=[WINNER, OTHER])
FIVE, ONE = Share(account=1, position_id=0, size_lots=5), Share(account=2, position_id=4, size_lots=1)
NO_SHARES = {
    **NO_RECORD,
    "a generator": iter([FIVE]),
    "plain tuples": [(1, 0, 5)],
    "shares and nothing": [FIVE, None],
    "a winner twice": [attrs.evolve(FIVE, size_lots=1)] * 2,
    "more than must be placed": [FIVE, attrs.evolve(ONE, size_lots=2)],
    **{what: [share] for what, share in each("size_lots", FIVE, NO_SIZE | {"more than it bears": 6}).items()},
    **{what: [share] for what, share in each("account", FIVE, {"no winner": 3, "a float": 1.0, "a list": [1]}).items()},
    **{what: [share] for what, share in each("position_id", FIVE, {"no winner's": 4}).items()},
}

SOURCE = SourceReading(source=1, price_ticks=100, age_ns=0, weight=1, left_out=LeftOut.USED)
INDEX = IndexPrice(market=1, price_ticks=100, state=PriceState.OK, at_ns=NOW_NS, sources=(SOURCE,))
MARK = Mark(market=1, price_ticks=100, state=PriceState.OK, at_ns=NOW_NS)
INPUTS = PricingInputs(index=INDEX, at_ns=NOW_NS)
NO_SOURCES = {
    "nothing": None,
    "of nothing": (None,),
    "with a float": (attrs.evolve(SOURCE, price_ticks=100.0),),
    "left out for no known reason": (attrs.evolve(SOURCE, left_out=0),),
}


def not_priced(sound):
    """Return how both an index and a mark may be spoiled."""
    spoiled = {**NO_RECORD, **each("market", sound, NO_MARKET), **each("price_ticks", sound, NO_PRICE)}
    return spoiled | each("state", sound, {"a number": 1, "nothing": None}) | each("at_ns", sound, NO_STAMP)


# The funds hold 60 and 30. In turn they pay a loss of 100 or 50, and receive 100.
LOSS = Loss(market=1, asset=1, amount_units=100, cause=Cause.INVENTORY, at_ns=NOW_NS)
SMALL = attrs.evolve(LOSS, amount_units=50)
HELD = {1: 60, 2: 30}
SIXTY, FORTY = FundMove(fund=1, amount_units=60), FundMove(fund=2, amount_units=40)
NO_MOVES = {
    **NO_RECORD,
    "a generator": iter([SIXTY, FORTY]),
    "moves and nothing": [SIXTY, None],
    "a fund twice": [attrs.evolve(SIXTY, amount_units=50)] * 2,
    **{what: [move] for what, move in each("amount_units", SIXTY, NO_SIZE).items()},
    **{what: [move] for what, move in each("fund", SIXTY, {"unknown": 3, "a list": [1], "a float": 1.0}).items()},
}

QUESTIONS = {
    "margin.need": Question(
        (POOL, {}),
        (NEED,),
        {
            **NO_RECORD,
            **each("equity_units", NEED, NO_INTEGER),
            **each("initial_units", NEED, NO_AMOUNT),
            **each("maintenance_units", NEED, NO_AMOUNT),
            **each("slots", NEED, NO_SLOTS),
        },
    ),
    "margin.thresholds": Question(
        (POOL, 1, 0, {}),
        (PRICES, NO_PRICES),
        {
            **NO_RECORD,
            **each("liquidation_ticks", PRICES, {"0": 0, "a float": 90.0, "above the listed": HIGH + 1}),
            **each("bankruptcy_ticks", PRICES, {"negative": -1, "a bool": True, "text": "90"}),
        },
    ),
    "margin.closing_value": Question((POOL, 1, 0, 10, {}), (-(1 << 61), 0), NO_INTEGER),
    "margin.opening_margin": Question((LONG, 10, {}), (0, 1 << 61), NO_AMOUNT),
    "margin.initial_ppb": Question((1,), (0, SCALE), NO_RATE | {"negative": -1}),
    "fees.rate_ppb": Question((1, True), (-SCALE, 0, SCALE), NO_RATE),
    "order_checks.admits": Question(
        (None,), (True, False), {"nothing": None, "a number": 1, "text": "no", "a list": []}
    ),
    "liquidation.next_step": Question(
        (CASE,),
        (
            Settled(),
            CancelOrders(market=2),
            CLOSE,
            attrs.evolve(CLOSE, size_lots=1, limit_ticks=99),
            CLOSE_SHORT,
            TAKE_OVER,
            TakeOver(market=2, position_id=1, price_ticks=HIGH),
            TakeOver(market=2, position_id=9, price_ticks=77),
        ),
        NO_STEP,
    ),
    "deleveraging.shares": Question((PLACE_6,), ([], (), [FIVE, ONE], (ONE,)), NO_SHARES),
    "index_price.update": Question(
        ((), NOW_NS),
        (INDEX, attrs.evolve(INDEX, price_ticks=0, state=PriceState.FROZEN, sources=())),
        {**not_priced(INDEX), "a mark": MARK, **each("sources", INDEX, NO_SOURCES)},
    ),
    "mark_price.update": Question(
        (INPUTS,),
        (MARK,),
        {**not_priced(MARK), "an index": INDEX, "no price": attrs.evolve(MARK, price_ticks=0, state=PriceState.FROZEN)},
    ),
    "funding.sample": Question((INPUTS, MARK), (None,), {}),
    "funding.rate_ppb": Question((), (-SCALE, 0, SCALE), NO_RATE),
    "funding.close": Question((NOW_NS,), (-SCALE, 0, SCALE), NO_RATE),
    "funding.next_ns": Question(
        (NOW_NS,),
        (None, NOW_NS + 1),
        {"the same": NOW_NS, "earlier": NOW_NS - 1, "a float": NOW_NS + 0.5, "a bool": True, "63 bits": 1 << 62},
    ),
    "insurance.funds": Question(
        (),
        ([], [0], (1, 2)),
        {**NO_RECORD, "a set": {1}, "one twice": [1, 1], "negative": [-1], "a bool": [True], "text": ["1"]},
    ),
    "insurance.payable": Question((LOSS, HELD), (0, 90), NO_AMOUNT | {"more than there is": 91}),
    "insurance.draw": Question(
        (LOSS, HELD),
        ([], (SIXTY,), [SIXTY, attrs.evolve(FORTY, amount_units=30)]),
        NO_MOVES | {"beyond a balance": [FORTY]},
    ),
    "insurance.receive": Question(
        (LOSS,),
        ([attrs.evolve(SIXTY, amount_units=100)], (SIXTY, FORTY)),
        {
            **NO_MOVES,
            "none of it": [],
            "all of it to an unknown fund": [FundMove(fund=3, amount_units=100)],
            "less than comes in": [SIXTY, attrs.evolve(FORTY, amount_units=39)],
            "more than comes in": [SIXTY, attrs.evolve(FORTY, amount_units=41)],
            "one fund pays another": [attrs.evolve(SIXTY, amount_units=140), attrs.evolve(FORTY, amount_units=-40)],
        },
    ),
} | {
    f"{fold}.{member}": question
    for fold in ("index_price", "mark_price", "funding", "insurance")
    for member, question in {
        "dump": Question((), (b"", b"state"), NO_STATE),
        "load": Question((b"state",), (None,), {}),
    }.items()
}


def cases(answers):
    """Return every question's key with its answers, as parameters."""
    return [
        pytest.param(key, answer, id=f"{key}: {what}")
        for key, question in QUESTIONS.items()
        for what, answer in answers(question)
    ]


def ask(key, answer):
    port, _, member = key.partition(".")
    return getattr(GUARDS[port](Part(**{member: answer})), member)(*QUESTIONS[key].given)


@pytest.mark.parametrize(("key", "answer"), cases(lambda question: enumerate(question.sound)))
def test_a_sound_answer_passes_unchanged(key, answer):
    assert ask(key, answer) is answer


@pytest.mark.parametrize(("key", "answer"), cases(lambda question: question.garbage.items()))
def test_garbage_is_refused_and_names_the_part(key, answer):
    with pytest.raises(PartFaultError, match=r"^acme's part: expected ") as caught:
        ask(key, answer)
    assert caught.value.part == 7


def test_a_fund_draws_no_more_than_the_loss():
    draw = GUARDS["insurance"](Part(draw=[SIXTY])).draw
    with pytest.raises(PartFaultError, match="at most 50 units drawn"):
        draw(SMALL, HELD)


@pytest.mark.parametrize("key", QUESTIONS)
def test_a_part_that_raises_is_named_with_what_it_raised(key):
    error = ZeroDivisionError("by zero")
    with pytest.raises(PartFaultError) as caught:
        ask(key, error)
    assert str(caught.value) == f"acme's part: {key.partition('.')[2]} raised ZeroDivisionError: by zero"
    assert (caught.value.part, caught.value.__cause__) == (7, error)


def test_every_question_to_a_decider_or_a_fold_is_tried():
    asked = {f"{port.key}.{member}" for port in PORTS if port.key in GUARDS for member in port.members}
    book = {key for key in asked if key.startswith("book.")}
    assert set(QUESTIONS) == asked - book - {"mark_price.own_book_free"}


def test_a_part_that_stands_on_another_is_not_blamed_for_it():
    with pytest.raises(PartFaultError) as caught:
        ask("fees.rate_ppb", PartFaultError("the part below", 3))
    assert caught.value.part == 3


@pytest.mark.parametrize(
    ("said", "believed"), [(True, True), (False, False), (1, False), ("yes", False), (None, False)], ids=repr
)
def test_a_mark_is_own_book_free_only_when_it_says_exactly_that(said, believed):
    part = Part()
    part.own_book_free = said
    assert GUARDS["mark_price"](part).own_book_free is believed


class UnspeakableError(Exception):
    """Cannot be printed."""

    def __repr__(self):
        raise ValueError("no name for this")

    __str__ = __repr__


@pytest.mark.parametrize(
    "answer", [10**5_000, [UnspeakableError()], UnspeakableError()], ids=["5,000 digits", "no repr", "no message"]
)
def test_what_cannot_be_printed_is_refused_all_the_same(answer):
    with pytest.raises(PartFaultError):
        ask("fees.rate_ppb", answer)


def test_what_a_part_is_asked_may_be_any_callable():
    fees = SimpleNamespace(rate_ppb=functools.partial(divmod, 1))
    with pytest.raises(PartFaultError):
        GUARDS["fees"](fees).rate_ppb(1, True)


# The book: 5 are offered at 100, 5 at 101 and 5 at 103. Mostly somebody buys 8 at up to 102.


def order(number, side, size, price, lives=GTC):
    return Order(
        id=number, account=number, market=1, position_id=0, side=side, size_lots=size, price_ticks=price,
        time_in_force=lives,
    )  # fmt: skip


def match(number, size, price):
    return Match(maker=number, maker_account=number, maker_position_id=0, price_ticks=price, size_lots=size)


def plan(*matches, size=8, price=102, lives=GTC, rest=0, cancel=0, why=CancelReason.IMMEDIATE):
    taker = order(9, Side.BUY, size, price, lives)
    return MatchPlan(
        taker=taker, version=1, matches=matches, rest_lots=rest, cancel_lots=cancel, cancel_reason=why
    )  # fmt: skip


OFFERS = [order(number, Side.SELL, 5, price) for number, price in ((1, 100), (2, 101), (3, 103))]
FIRST, SECOND, THIRD = (match(offer.id, 5, offer.price_ticks) for offer in OFFERS)
THREE = match(2, 3, 101)
SOUND = plan(FIRST, THREE)


def planned(answer, taker, resting=OFFERS):
    return GUARDS["book"](Part(plan=answer, orders=iter(resting))).plan(taker)


@pytest.mark.parametrize(
    "answer",
    [
        SOUND,
        plan(match(1, 3, 100), size=3),
        plan(FIRST, SECOND, size=12, rest=2),
        plan(FIRST, SECOND, size=12, lives=IOC, cancel=2),
        plan(FIRST, THREE, lives=FOK),
        plan(size=12, lives=FOK, cancel=12),
        plan(price=99, rest=8),
        plan(FIRST, SECOND, THIRD, size=15, price=103),
    ],
)
def test_a_sound_plan_passes_unchanged(answer):
    assert planned(answer, answer.taker) is answer


def test_a_seller_is_bounded_from_below():
    bids, taker = [order(1, Side.BUY, 5, 100), order(2, Side.BUY, 5, 98)], order(9, Side.SELL, 6, 99)
    sound = MatchPlan(taker=taker, version=1, matches=(FIRST,), rest_lots=1, cancel_lots=0)
    assert planned(sound, taker, bids) is sound
    with pytest.raises(PartFaultError):
        planned(attrs.evolve(sound, matches=(FIRST, match(2, 1, 98)), rest_lots=0), taker, bids)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        SOUND.matches,
        plan(FIRST, SECOND, size=10),
        attrs.evolve(SOUND, taker=attrs.evolve(SOUND.taker, account=8)),
        KeyError("level"),
    ],
    ids=["nothing", "matches alone", "a larger order", "another's order", "raises"],
)
def test_no_plan_for_the_order_is_refused_and_names_the_book(answer):
    with pytest.raises(PartFaultError, match="acme's part") as caught:
        planned(answer, SOUND.taker)
    assert caught.value.part == 7


LIES = {
    "skips the first maker": plan(THREE, rest=5),
    "meets the makers in another order": plan(SECOND, match(1, 3, 100)),
    "meets one maker twice": plan(FIRST, match(1, 3, 100)),
    "at a better price than the maker's": plan(attrs.evolve(FIRST, price_ticks=99), THREE),
    "at a worse price than the maker's": plan(attrs.evolve(FIRST, price_ticks=102), THREE),
    "worse than the limit": plan(FIRST, SECOND, match(3, 2, 103), size=12),
    "more than the maker has": plan(match(1, 6, 100), match(2, 2, 101)),
    "nothing of a maker": plan(FIRST, match(2, 0, 101), rest=3),
    "less than nothing of a maker": plan(FIRST, match(2, -1, 101), rest=4),
    "a trade that it says was prevented": plan(FIRST, attrs.evolve(THREE, prevented=True)),
    "a trade where prevented is a number": plan(FIRST, attrs.evolve(THREE, prevented=0)),
    "lots prevented that were not": attrs.evolve(plan(FIRST, THREE), prevented_lots=1),
    "another reason to cancel": plan(FIRST, SECOND, size=12, lives=IOC, cancel=2, why=CancelReason.SELF_TRADE),
    "the second maker before the first is gone": plan(match(1, 4, 100), match(2, 4, 101)),
    "another account": plan(attrs.evolve(FIRST, maker_account=2), THREE),
    "another position": plan(attrs.evolve(FIRST, maker_position_id=1), THREE),
    "an invented maker": plan(FIRST, match(4, 3, 101)),
    "an invented maker behind the last": plan(FIRST, SECOND, THIRD, match(4, 1, 103), size=16, price=103),
    "sizes that do not add up": plan(FIRST, THREE, rest=1),
    "a negative size that makes up for another": plan(FIRST, THREE, rest=1, cancel=-1),
    "a rest that is a bool": plan(FIRST, match(2, 2, 101), rest=True),
    "leaves a crossing order unfilled": plan(FIRST, rest=3),
    "leaves an immediate order unfilled": plan(FIRST, lives=IOC, cancel=3),
    "rests an immediate order": plan(FIRST, SECOND, size=12, lives=IOC, rest=2),
    "kills an order that it partly fills": plan(FIRST, SECOND, size=12, lives=FOK, cancel=2),
    "rests an order that it should kill": plan(size=12, lives=FOK, rest=12),
    "no matches": attrs.evolve(SOUND, matches=None),
    "a match with nothing": plan(FIRST, None),
    "matches that can be read once": attrs.evolve(SOUND, matches=iter(SOUND.matches)),
    "a price that is a float": plan(attrs.evolve(FIRST, price_ticks=100.0), THREE),
    "an account that is a bool": plan(attrs.evolve(FIRST, maker_account=True), THREE),
    "crosses the book to save work": plan(rest=8, why=CancelReason.WORK_LIMIT),
    "saves work before there was any": plan(cancel=8, why=CancelReason.WORK_LIMIT),
    "cancels what would rest": plan(price=99, cancel=8),
    "kills what could be filled": plan(lives=FOK, cancel=8),
}


@pytest.mark.parametrize("answer", [pytest.param(answer, id=what) for what, answer in LIES.items()])
def test_a_plan_that_breaks_a_rule_is_refused_and_names_the_book(answer):
    with pytest.raises(PartFaultError, match=r"^acme's part: expected ") as caught:
        planned(answer, answer.taker)
    assert caught.value.part == 7


class Certified(Part):
    certified = True


def test_a_certified_book_is_believed_and_named_when_it_raises():
    for answer in LIES.values():
        assert GUARDS["book"](Certified(plan=answer)).plan(answer.taker) is answer
    with pytest.raises(PartFaultError, match="acme's part: plan raised KeyError"):
        GUARDS["book"](Certified(plan=KeyError("level"))).plan(SOUND.taker)


@pytest.mark.parametrize(
    "book", [type("Heir", (Certified,), {}), type("Vague", (Part,), {"certified": 1})], ids=["inherited", "not True"]
)
def test_a_book_whose_class_does_not_itself_say_that_it_is_certified_is_checked(book):
    lie = LIES["skips the first maker"]
    with pytest.raises(PartFaultError):
        GUARDS["book"](book(plan=lie, orders=iter(OFFERS))).plan(lie.taker)


# Order 1 is the taker's own: the first 5 come off both without a trade.
PREVENTS = attrs.evolve(SOUND.taker, account=1, self_trade=SelfTrade.DECREMENT)
PREVENTED = attrs.evolve(plan(attrs.evolve(FIRST, prevented=True), THREE), taker=PREVENTS, prevented_lots=5)


def test_a_plan_that_prevents_what_the_order_asks_to_prevent_passes_unchanged():
    assert planned(PREVENTED, PREVENTS) is PREVENTED


@pytest.mark.parametrize(
    "answer",
    [
        attrs.evolve(PREVENTED, matches=(FIRST, THREE), prevented_lots=0),
        attrs.evolve(PREVENTED, prevented_lots=0, rest_lots=5),
        attrs.evolve(PREVENTED, matches=(THREE,)),
    ],
    ids=["trades with its own", "takes off the maker alone", "takes off the taker alone"],
)
def test_a_plan_that_prevents_less_is_refused(answer):
    with pytest.raises(PartFaultError):
        planned(answer, PREVENTS)
