"""Integer ids. Names live in a directory at the edge; the core never sees one."""

from typing import TypeAlias

AccountId: TypeAlias = int
OwnerId: TypeAlias = int
AssetId: TypeAlias = int
MarketId: TypeAlias = int
OrderId: TypeAlias = int
PositionId: TypeAlias = int
SourceId: TypeAlias = int
FundId: TypeAlias = int

HOUSE: AccountId = 0
"""The account that holds what liquidation took over: the only house account with positions."""

INVENTORY_LONG: PositionId = 1
INVENTORY_SHORT: PositionId = 2
"""Long and short take-overs are kept apart, so that one never realises a loss by netting the other."""

OWNER_BITS = 40


def account_id(owner: OwnerId, number: int = 0) -> AccountId:
    """Return the id of an owner's account; an account id carries its owner.

    Example:
        >>> account_id(7), owner_of(account_id(7, number=3))
        (7, 7)
    """
    return (number << OWNER_BITS) | owner


def owner_of(account: AccountId) -> OwnerId:
    """Return the owner, the unit by which limits on groups of accounts count."""
    return account & ((1 << OWNER_BITS) - 1)
