"""A chain as a Bitcoin Core node of one's own tells it, over JSON-RPC."""

import json
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs

from perpkit.errors import ChainError, ConfigError, CustodyError, UnitsError
from perpkit.ports.custody.chain import Block, BlockRef, Coin, Outpoint, Output
from perpkit.units import Units, exact
from perpkit_bitcoin.transaction import read_block, read_transaction

COIN = 100_000_000
ALREADY_MINED = -27
NETWORKS = ("main", "test", "signet", "regtest")
T = TypeVar("T")


class NodeError(ChainError):
    """The node refused a call; `code` says why, by Core's numbers."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@attrs.frozen(kw_only=True)
class Node:
    """How a node is reached: by the cookie that it writes beside its blocks, or by a name and a password.

    `timeout_seconds` is for one call; `scan_seconds` for a count of all coins, which on the main chain takes minutes.
    """

    url: str = "http://127.0.0.1:8332"
    cookie: Path | None = None
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    timeout_seconds: int = 30
    scan_seconds: int = 900

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError("expected a node's URL as http://host:port, without name and password, was another")
        if (self.cookie is None) == (not self.user):
            raise ConfigError("expected either the path of the node's cookie or a user, had both or neither")

    def secret(self) -> bytes:
        """Return name and password. The cookie is read each time: a node that starts writes a new one."""
        if self.cookie is None:
            return f"{self.user}:{self.password}".encode()
        try:
            return self.cookie.read_bytes().strip()
        except OSError as error:
            raise ChainError(f"the node's cookie cannot be read: {error}; is the node running?") from error


class RpcChain:
    """A `ChainSource` over JSON-RPC, for a node of version 23 or newer that is not pruned.

    Blocks are read as the network sends them, so that their hashes and their transactions are checked here.

    Coins at a block are the node's own count: its scan of all unspent outputs, which only looks at its tip, and from
    there back what later blocks have spent, by the node's undo data (`getblock` at verbosity 3). The blocks that
    `block` reads have no part in it.

    Args:
        network: `main`, `test`, `signet` or `regtest`; a node of another is refused.
        fee_rate_default: what is paid when the node cannot estimate, as on a young chain; without it, that is a fault.
    """

    def __init__(self, node: Node, network: str, *, fee_rate_default: Units | None = None) -> None:
        if network not in NETWORKS:
            raise ConfigError(f"expected a network of {', '.join(NETWORKS)}, was {network!r}")
        self._node = node
        self._network = network
        self._fee_rate_default = fee_rate_default

    def tip(self) -> BlockRef:
        """Return the last block, by one call, so that height and hash belong together."""
        told = self._call("getblockchaininfo")
        if _of(told, "chain", str) != self._network:
            raise ChainError(f"expected a node of {self._network}, this one is of {told['chain']!r}")
        return BlockRef(_of(told, "blocks", int), _hex(_of(told, "bestblockhash", str)))

    def block(self, height: int, /) -> Block:
        """Return a block, from its bytes."""
        name = self._text("getblockhash", height)
        try:
            found = read_block(_hex(self._text("getblock", name, 0)), height)
        except CustodyError as error:
            raise ChainError(f"the node's block {name} is none: {error}") from error
        if found.ref.hash != _hex(name):
            raise ChainError(f"expected the block {name}, the node gave {found.ref.hash.hex()}")
        return found

    def coins(self, scripts: Collection[bytes], at: BlockRef, /) -> Sequence[Coin]:
        """Return the node's count at its tip, less what was made after a block, and with what was spent after it.

        Cost:
            A scan of all unspent outputs, and a read of every later block.
        """
        wanted = sorted(set(scripts))
        named = [{"desc": f"raw({script.hex()})"} for script in wanted]
        told = self._call("scantxoutset", "start", named, seconds=self._node.scan_seconds)
        if _of(told, "success", bool) is not True:
            raise ChainError("the node's scan of coins was aborted")
        found = [_coin(each) for each in _of(told, "unspents", list)]
        name, height = _of(told, "bestblock", str), _of(told, "height", int)
        while height > at.height:
            block = self._call("getblock", name, 3)
            found += _undone(block)
            name, height = _of(block, "previousblockhash", str), height - 1
        if (height, _hex(name)) != at:
            raise ChainError(f"block {at.hash.hex()} is not the one at height {at.height}")
        kept = {coin.outpoint: coin for coin in found if coin.height <= at.height and coin.output.script in set(wanted)}
        return list(kept.values())

    def broadcast(self, raw: bytes, /) -> bytes:
        """Send a transaction. That it waits already, or is mined, is as good.

        A node without an index of transactions does not know one again whose outputs are all spent, and refuses it.
        """
        try:
            txid = read_transaction(raw).txid
        except CustodyError as error:
            raise ChainError(f"expected a transaction: {error}") from error
        try:
            told = self._text("sendrawtransaction", raw.hex())
        except NodeError as error:
            if error.code == ALREADY_MINED or self._knows(txid):
                return txid
            raise
        if _hex(told) != txid:
            raise ChainError(f"expected the id {txid.hex()}, the node says {told}")
        return txid

    def fee_rate(self, blocks: int, /) -> Units:
        """Return the node's estimate."""
        told = self._call("estimatesmartfee", blocks)
        if "feerate" in told:
            return _units(told["feerate"])
        if self._fee_rate_default is None:
            raise ChainError(f"the node has no estimate for {blocks} blocks: {told.get('errors')}")
        return self._fee_rate_default

    def previous(self, coin: Coin) -> bytes:
        """Return the transaction that made a coin, whole, for drafts that carry it."""
        name = self._text("getblockhash", coin.height)
        raw = _hex(self._text("getrawtransaction", coin.outpoint.txid.hex(), False, name))
        if read_transaction(raw).txid != coin.outpoint.txid:
            raise ChainError(f"expected the transaction {coin.outpoint.txid.hex()}, the node gave another")
        return raw

    def _knows(self, txid: bytes) -> bool:
        try:
            self._call("getrawtransaction", txid.hex())
        except NodeError:
            return False
        return True

    def _text(self, method: str, *params: object) -> str:
        return _checked(self._post(method, params, self._node.timeout_seconds), str, method)

    def _call(self, method: str, *params: object, seconds: int = 0) -> dict[str, Any]:
        return _checked(self._post(method, params, seconds or self._node.timeout_seconds), dict, method)

    def _post(self, method: str, params: Sequence[object], seconds: int) -> object:
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        parts = urlsplit(self._node.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        headers = {
            "Authorization": "Basic " + b64encode(self._node.secret()).decode(),
            "Content-Type": "application/json",
        }
        body = json.dumps({"jsonrpc": "1.0", "id": "perpkit", "method": method, "params": params})
        try:
            connection.request("POST", parts.path or "/", body, headers)
            response = connection.getresponse()
            status, content = response.status, response.read()
        except (OSError, HTTPException) as error:
            raise ChainError(f"the node at {parts.netloc} does not answer {method}: {error!r}") from error
        finally:
            connection.close()
        if status in (401, 403):
            raise ChainError(f"the node at {parts.netloc} refuses the name and password ({status})")
        try:
            told = json.loads(content, parse_float=Decimal)
            fault, result = told["error"], told["result"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ChainError(f"the node answers {method} with status {status} and {content[:60]!r}") from error
        if fault is not None:
            raise _node_error(method, fault)
        return result


def _node_error(method: str, fault: object) -> NodeError:
    code = fault.get("code") if isinstance(fault, dict) else None
    message = fault.get("message") if isinstance(fault, dict) else fault
    return NodeError(f"the node refuses {method}: {message} ({code})", code if isinstance(code, int) else 0)


def _undone(block: dict[str, Any]) -> Iterator[Coin]:
    """Return the coins that a block has spent."""
    for transaction in _of(block, "tx", list):
        for spending in _of(transaction, "vin", list):
            if "coinbase" in spending:
                continue
            made = _of(spending, "prevout", dict)
            script = _hex(_of(_of(made, "scriptPubKey", dict), "hex", str))
            yield Coin(
                outpoint=Outpoint(_hex(_of(spending, "txid", str)), _of(spending, "vout", int)),
                output=Output(script, _units(made.get("value"))),
                height=_of(made, "height", int),
            )


def _coin(told: object) -> Coin:
    """Read a coin of the node's scan."""
    fields = _checked(told, dict, "a coin")
    return Coin(
        outpoint=Outpoint(_hex(_of(fields, "txid", str)), _of(fields, "vout", int)),
        output=Output(_hex(_of(fields, "scriptPubKey", str)), _units(fields.get("amount"))),
        height=_of(fields, "height", int),
    )


def _of(fields: object, name: str, kind: type[T]) -> T:
    """Return a field, if it is there and of a kind."""
    return _checked(_checked(fields, dict, name).get(name), kind, name)


def _checked(value: object, kind: type[T], what: str) -> T:
    if type(value) is not kind:
        raise ChainError(f"the node answered garbage: expected {what} as {kind.__name__}, was {str(value)[:60]!r}")
    return value


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ChainError(f"the node answered garbage: expected hexadecimal, was {text[:60]!r}") from None


def _units(told: object) -> Units:
    """Return an amount, which nodes write in whole coins, in units."""
    try:
        amount = exact(told) * COIN
    except UnitsError as error:
        raise ChainError(f"the node answered garbage: {error}") from error
    if amount.denominator != 1 or amount < 0:
        raise ChainError(f"the node answered garbage: expected an amount, was {told}")
    return amount.numerator
