"""Adapter for `matching`: account 2 fills the book of the case, and account 1 of a whole exchange does what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpkit.engine.exchange import Outcome
from perpkit.model.order import Level, Side, TimeInForce

TAKER, MAKER = 1, 2
SIDES = {"buy": Side.BUY, "sell": Side.SELL}
LOWEST, HIGHEST = "1", "500000"
REASONS = {"would-cross": "would take"}


class Floor:
    """An exchange with one market, its book filled; `names` are the orders of the case by perpkit's id."""

    def __init__(self, make: Any, asks: Sequence[list[str]] = (), bids: Sequence[list[str]] = (), **more: Any) -> None:
        market = {
            "price_min": LOWEST,
            "price_max": HIGHEST,
            "brackets": [{"up_to": "1000000000", "initial": "100%", "maintenance": "50%"}],
        }
        rich = "100000000000"
        more = {"deposits": {TAKER: rich, MAKER: rich}, "price": asks[0][0] if asks else "100", **more}
        self.exchange = make.exchange(market, deposits_max=rich + "0", **more)
        self.names: dict[int, str] = {}
        for side, levels in ((Side.SELL, asks), (Side.BUY, bids)):
            for price, size, *name in levels:
                placed = self.place(MAKER, side, size, price)
                assert placed.rejected is None
                self.names[placed.sequence] = "".join(name)

    def place(self, account: int, side: Side, size: str, price: str | None, **terms: Any) -> Outcome:
        outcome: Outcome = self.exchange.place(account, "PERP-1", side, size, price, **terms)
        return outcome

    def levels(self, side: Side) -> list[list[int]]:
        found: Sequence[Level] = self.exchange.clearing.levels(1, side, 99)
        return [[level.price_ticks, level.size_lots] for level in found]


def matching(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "steps" in inputs:
        return cycle(inputs["steps"], make)
    order = inputs["order"]
    if "amend_to" in inputs:
        return amended_beyond_the_money(order, inputs["amend_to"], make)
    book = inputs.get("book", {"asks": inputs.get("asks", [])})
    floor = Floor(make, **(book if book != "empty" else {}))
    before = [floor.levels(side) for side in Side]
    if order.get("action") == "amend":
        first, size = order["initial"], int(order["initial"]["qty"])
        rests = floor.place(TAKER, SIDES[first["side"]], first["qty"], first["price"])
        done = floor.exchange.amend(TAKER, "PERP-1", rests.sequence, price=order["new_price"])
    else:
        size = int(order["qty"])
        done = place(floor, order)
    fills = [each for each in done.fills if each.maker]
    rests = [each for side in Side for each in floor.exchange.clearing.orders(1, side) if each.account == TAKER]
    resting = sum(each.size_lots for each in rests)
    cancelled = size - sum(abs(each.size_lots) for each in fills) - resting
    best_bid, best_ask = ((*floor.levels(side), None)[0] for side in (Side.BUY, Side.SELL))
    at = [[each.price_ticks, each.size_lots] for each in rests]
    return {
        "trades": [[floor.names[each.order_id], each.price_ticks, abs(each.size_lots)] for each in fills],
        "fills": [[each.price_ticks, abs(each.size_lots)] for each in fills],
        "n_trades": len(fills),
        "best_bid": best_bid,
        "best_ask": best_ask,
        "resting": at[0] if order.get("type") == "market_to_limit" else resting,
        "rejected": cancelled,
        "book_unchanged": before == [floor.levels(side) for side in Side],
        "state": "rejected" if done.rejected else "canceled" if cancelled else "done",
        "reason": REASONS[done.rejected.text] if done.rejected and done.rejected.text in REASONS else None,
    }


def place(floor: Floor, order: dict[str, Any]) -> Outcome:
    """Place what a case describes; a budget without a price has the last price of the market for its limit."""
    side, price, terms = SIDES[order["side"]], order.get("price"), {}
    tif = order.get("tif", "GTC")
    if tif == "FOK_BUDGET":
        tif, price = "FOK", HIGHEST if side is Side.BUY else LOWEST
        terms["value_limit"] = order.get("budget") or order["min_proceeds"]
    terms |= {"post_only": "post_only" in order, "market_to_limit": order.get("type") == "market_to_limit"}
    return floor.place(TAKER, side, order["qty"], price, time_in_force=TimeInForce[tif], **terms)


def cycle(steps: list[list[str]], make: Any) -> dict[str, Any]:
    floor, fills, mine = Floor(make, price=steps[0][2]), [], {}
    for who, what, *numbers in steps:
        account = {"Alice": TAKER, "Bob": MAKER}[who]
        kind, side, *change = what.split()
        if kind == "amend":
            old, _, new = change[0].partition("->")
            done = floor.exchange.amend(account, "PERP-1", mine[account, side, old], price=new)
        else:
            price, size = numbers
            done = floor.place(account, SIDES[side], size, price, time_in_force=TimeInForce[kind])
            mine[account, side, price] = done.sequence
        fills += [[each.price_ticks, abs(each.size_lots)] for each in done.fills if each.maker]
    book = {"asks": floor.levels(Side.SELL), "bids": floor.levels(Side.BUY)}
    return {"trades": fills, "final_book": book}


def amended_beyond_the_money(order: dict[str, str], price: str, make: Any) -> dict[str, Any]:
    """The account has what the order may cost at its reserve price, and no more."""
    money = str(int(order["reserve_price"]) * int(order["qty"]))
    floor = Floor(make, deposits={TAKER: money}, price=order["reserve_price"])
    placed = floor.place(TAKER, SIDES[order["side"]], order["qty"], order["price"])
    done = floor.exchange.amend(TAKER, "PERP-1", placed.sequence, price=price)
    (rests,) = floor.exchange.clearing.orders(1, SIDES[order["side"]])
    return {"accepted": done.rejected is None, "price": rests.price_ticks}


ADAPTERS = {"matching": matching}
