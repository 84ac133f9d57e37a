"""A `KernelChain` behind Bitcoin Core's JSON-RPC, on this machine only: to try what speaks to nodes.

It answers the calls that `RpcChain` makes, as Core does, and refuses all others.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Lock, Thread
from typing import Any, Self

from perpkit.errors import ChainError
from perpkit.ports.custody.chain import Coin, Outpoint
from perpkit.units import Units
from perpkit_bitcoin.chain import ALREADY_MINED, COIN, Node
from perpkit_bitcoin.regtest import KernelChain
from perpkit_bitcoin.transaction import Transaction, read_block_transactions, read_transaction

REFUSED, NOT_FOUND, NO_METHOD = -26, -5, -32601


class RefusedCall(Exception):  # noqa: N818 - it is an answer, not a fault
    """What a node answers in place of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Facade:
    """A server on a free port of the loopback, until the end of a `with` block. `node` says how to reach it."""

    def __init__(self, chain: KernelChain, *, user: str = "perpkit", password: str = "regtest") -> None:  # noqa: S107
        self._chain = chain
        # The kernel and its miner know one caller at a time; whoever plays the world with the chain takes it too.
        self.lock = Lock()
        answer, expected = self._answer, "Basic " + b64encode(f"{user}:{password}".encode()).decode()

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 1 << 16

            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                status, body = answer(asked) if self.headers["Authorization"] == expected else (401, b"")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        host = f"http://127.0.0.1:{self._server.server_port}"
        self.node = Node(url=host, user=user, password=password, timeout_seconds=10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, asked: bytes) -> tuple[int, bytes]:
        call = json.loads(asked)
        try:
            with self.lock:
                result, error = self._result(call["method"], call["params"]), None
        except RefusedCall as refused:
            result, error = None, {"code": refused.code, "message": str(refused)}
        return 500 if error else 200, json.dumps({"result": result, "error": error, "id": call["id"]}).encode()

    def _result(self, method: str, params: list[Any]) -> Any:
        answers: dict[str, Callable[..., Any]] = {
            "getblockchaininfo": self._info,
            "getblockhash": self._block_hash,
            "getblock": self._block,
            "getrawtransaction": self._transaction,
            "scantxoutset": self._scan,
            "sendrawtransaction": self._send,
            "estimatesmartfee": lambda _: {"errors": ["Insufficient data or no feerate found"], "blocks": 0},
        }
        if method not in answers:
            raise RefusedCall(NO_METHOD, "Method not found")
        try:
            return answers[method](*params)
        except ChainError as error:
            raise RefusedCall(REFUSED, str(error)) from error

    def _info(self) -> dict[str, Any]:
        tip = self._chain.tip()
        return {"chain": "regtest", "blocks": tip.height, "bestblockhash": tip.hash.hex()}

    def _block_hash(self, height: int) -> str:
        return self._chain.ref(height).hash.hex()

    def _block(self, name: str, verbosity: int) -> Any:
        height = self._height(name)
        raw = self._chain.raw_block(height)
        if verbosity == 0:
            return raw.hex()
        transactions = [{"txid": each.txid.hex(), "vin": self._spent(each)} for each in read_block_transactions(raw)]
        return {"hash": name, "height": height, "previousblockhash": raw[4:36][::-1].hex(), "tx": transactions}

    def _spent(self, transaction: Transaction) -> list[dict[str, Any]]:
        if transaction.is_coinbase:
            return [{"coinbase": transaction.inputs[0].script.hex()}]
        found = [(each.outpoint, self._made(each.outpoint)) for each in transaction.inputs]
        return [
            {
                "txid": outpoint.txid.hex(),
                "vout": outpoint.vout,
                "prevout": {
                    "height": coin.height,
                    "value": _whole(coin.output.amount_units),
                    "scriptPubKey": {"hex": coin.output.script.hex()},
                },
            }
            for outpoint, coin in found
        ]

    def _made(self, outpoint: Outpoint) -> Coin:
        for height in range(self._chain.tip().height, 0, -1):
            for each in read_block_transactions(self._chain.raw_block(height)):
                if each.txid == outpoint.txid:
                    return Coin(outpoint=outpoint, output=each.outputs[outpoint.vout], height=height)
        raise RefusedCall(NOT_FOUND, "No such transaction")

    def _transaction(self, txid: str, _verbose: bool = False, block: str | None = None) -> str:
        heights = [self._height(block)] if block else []
        for height in heights:
            for each in read_block_transactions(self._chain.raw_block(height)):
                if each.txid.hex() == txid:
                    return each.raw().hex()
        raise RefusedCall(NOT_FOUND, "No such mempool transaction. Use -txindex or provide a block hash")

    def _scan(self, _action: str, wanted: list[dict[str, str]]) -> dict[str, Any]:
        tip = self._chain.tip()
        scripts = [bytes.fromhex(each["desc"].removeprefix("raw(").removesuffix(")")) for each in wanted]
        unspents = [
            {
                "txid": coin.outpoint.txid.hex(),
                "vout": coin.outpoint.vout,
                "scriptPubKey": coin.output.script.hex(),
                "amount": _whole(coin.output.amount_units),
                "height": coin.height,
            }
            for coin in self._chain.coins(scripts, tip)
        ]
        return {"success": True, "height": tip.height, "bestblock": tip.hash.hex(), "unspents": unspents}

    def _send(self, raw: str) -> str:
        transaction = read_transaction(bytes.fromhex(raw))
        tip = self._chain.tip()
        scripts = {output.script for output in transaction.outputs}
        if any(coin.outpoint.txid == transaction.txid for coin in self._chain.coins(scripts, tip)):
            raise RefusedCall(ALREADY_MINED, "Transaction outputs already in utxo set")
        return self._chain.broadcast(bytes.fromhex(raw)).hex()

    def _height(self, name: str) -> int:
        for height in range(self._chain.tip().height, -1, -1):
            if self._block_hash(height) == name:
                return height
        raise RefusedCall(NOT_FOUND, "Block not found")


def _whole(units: Units) -> float:
    """Return units in whole coins, as nodes write them. All 21 million coins have fewer digits than a float keeps."""
    return units / COIN
