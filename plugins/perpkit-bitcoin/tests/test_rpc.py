"""A node over JSON-RPC is believed in nothing that can be checked, and whatever is wrong with it is a `ChainError`."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import attrs
import pytest

from perpkit.errors import ChainError, ConfigError
from perpkit.ports.custody.chain import BlockRef, Output
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit_bitcoin.chain import Node, NodeError, RpcChain
from perpkit_bitcoin.facade import Facade
from perpkit_bitcoin.transaction import read_transaction

CLIENT = Owner(Purpose.CLIENT, 7)


@pytest.fixture
def facade(chain) -> Iterator[Facade]:
    with Facade(chain) as facade:
        yield facade


@pytest.fixture
def rpc(facade) -> RpcChain:
    return RpcChain(facade.node, "regtest", fee_rate_default=1_500)


@pytest.fixture
def told() -> Iterator[Callable[[object], RpcChain]]:
    """Return what makes a chain of a node that answers every call with the same."""
    servers: list[HTTPServer] = []

    def make(answer: object, *, status: int = 200) -> RpcChain:
        body = answer if isinstance(answer, bytes) else json.dumps({"result": answer, "error": None}).encode()

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 1 << 16

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None: ...

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        node = Node(url=f"http://127.0.0.1:{servers[-1].server_port}", user="u", password="p")
        return RpcChain(node, "regtest")

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_nodes_count_of_the_past_is_what_the_chain_itself_counts(funded):
    """At every height, though coins came and went since, some of them between two blocks."""
    with Facade(funded.chain) as facade:
        rpc = RpcChain(facade.node, "regtest")
        start = funded.chain.tip().height - 1
        for index, amount_units in enumerate((1, 3, 29_999_999, 12_345_678), start=2):
            funded.chain.pay(funded.wallet.script(CLIENT, index), amount_units)
            unsigned = funded.draft(20_000_000 + index)
            funded.chain.broadcast(funded.party.finish(funded.wallet, unsigned))
            funded.chain.mine()
        scripts = [*funded.wallet.scripts(), funded.stranger]
        for height in range(start, funded.chain.tip().height + 1):
            at = funded.chain.ref(height)
            theirs = sorted(rpc.coins(scripts, at), key=lambda coin: coin.outpoint)
            assert theirs == sorted(funded.chain.coins(scripts, at), key=lambda coin: coin.outpoint)
        # Four that came in, two of change, and four that the stranger has.
        assert len(theirs) == 4 + 2 + 4


def test_a_draft_can_carry_the_transactions_that_the_node_has(funded):
    with Facade(funded.chain) as facade:
        rpc = RpcChain(facade.node, "regtest")
        for coin in funded.coins:
            assert rpc.previous(coin) == funded.chain.previous(coin)
        wallet = funded.party.wallet(previous=rpc.previous)
        payment = Output(funded.stranger, 70_000_000)
        unsigned = wallet.build(payment, funded.coins, change=0, fee_rate=1_000)
        assert wallet.describe(unsigned).unknown == ()
        assert rpc.broadcast(funded.party.finish(wallet, unsigned)) == unsigned.txid
        missing = attrs.evolve(funded.coins[0], height=3)
        with pytest.raises(NodeError, match="No such"):
            rpc.previous(missing)


def test_the_nodes_own_words_say_why_it_refuses(funded):
    with Facade(funded.chain) as facade:
        rpc = RpcChain(facade.node, "regtest")
        raw = funded.party.finish(funded.wallet, funded.draft(fee_rate=500))
        with pytest.raises(NodeError, match="expected a fee of") as caught:
            rpc.broadcast(raw)
        assert caught.value.code == -26


def test_without_an_estimate_the_default_is_paid_or_it_is_a_fault(rpc, facade, told):
    assert rpc.fee_rate(6) == 1_500
    with pytest.raises(ChainError, match="Insufficient data"):
        RpcChain(facade.node, "regtest").fee_rate(6)
    assert told({"feerate": 0.00012345, "blocks": 6}).fee_rate(6) == 12_345


def test_a_node_of_another_network_is_refused(facade, told):
    with pytest.raises(ChainError, match="expected a node of main, this one is of 'regtest'"):
        RpcChain(facade.node, "main").tip()
    with pytest.raises(ConfigError, match="a network of main"):
        RpcChain(facade.node, "mainnet")


def test_wrong_secrets_and_absent_nodes_say_so_without_naming_the_secret(facade):
    wrong = RpcChain(attrs.evolve(facade.node, password="not-this-one"), "regtest")
    with pytest.raises(ChainError, match="refuses the name and password") as caught:
        wrong.tip()
    assert "not-this-one" not in str(caught.value)
    assert "not-this-one" not in repr(attrs.evolve(facade.node, password="not-this-one"))
    nobody = RpcChain(Node(url="http://127.0.0.1:1", user="u", password="p"), "regtest")
    with pytest.raises(ChainError, match="does not answer getblockchaininfo"):
        nobody.tip()


def test_a_node_that_keeps_silent_is_given_up(facade):
    impatient = RpcChain(attrs.evolve(facade.node, timeout_seconds=1), "regtest")
    with facade.lock, pytest.raises(ChainError, match="does not answer"):
        impatient.tip()


def test_the_cookie_is_read_anew_each_time(facade, tmp_path):
    cookie = tmp_path / ".cookie"
    rpc = RpcChain(Node(url=facade.node.url, cookie=cookie), "regtest")
    with pytest.raises(ChainError, match="cookie cannot be read"):
        rpc.tip()
    cookie.write_text("perpkit:yesterday")
    with pytest.raises(ChainError, match="refuses"):
        rpc.tip()
    cookie.write_text("perpkit:regtest\n")
    assert rpc.tip().height == 110


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://127.0.0.1", "user": "u"},
        {"url": "http://u:p@127.0.0.1:8332", "user": "u"},
        {"url": "127.0.0.1:8332", "user": "u"},
        {"url": "http://127.0.0.1:8332"},
    ],
)
def test_a_node_that_cannot_be_reached_as_described_is_refused(settings):
    with pytest.raises(ConfigError) as caught:
        Node(**settings)
    assert "u:p@" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b"{}", b"[" * 100_000, b'{"result": 1}', b"\xff"],
    ids=["nothing", "html", "list", "empty", "deep", "half", "no text"],
)
def test_what_is_no_answer_is_a_chain_error(told, answer):
    rpc = told(answer)
    for ask in (rpc.tip, lambda: rpc.block(3), lambda: rpc.fee_rate(2), lambda: rpc.coins([b"\x51"], BlockRef(1, b""))):
        with pytest.raises(ChainError):
            ask()


@pytest.mark.parametrize(
    "answer",
    [
        None,
        7,
        "zz",
        [],
        {},
        {"chain": "regtest", "blocks": "5", "bestblockhash": "00"},
        {"chain": "regtest", "blocks": True, "bestblockhash": "00"},
        {"chain": "regtest", "blocks": 5, "bestblockhash": "xy"},
        {"feerate": "a lot"},
        {"feerate": -0.1},
        {"feerate": 0.000000001},
        {"feerate": None},
        {"success": False},
        {"success": True, "height": 1, "bestblock": "00", "unspents": [{}]},
        {"success": True, "height": 5, "bestblock": "00", "unspents": [], "tx": [{"vin": [{}]}]},
    ],
)
def test_an_answer_of_another_kind_is_a_chain_error(told, answer):
    rpc = told(answer)
    for ask in (rpc.tip, lambda: rpc.block(3), lambda: rpc.fee_rate(2), lambda: rpc.coins([b"\x51"], BlockRef(1, b""))):
        with pytest.raises(ChainError):
            ask()


def test_a_block_that_is_not_what_its_name_says_is_refused(facade, chain, monkeypatch):
    rpc = RpcChain(facade.node, "regtest")
    monkeypatch.setattr(chain, "raw_block", lambda height, whole=chain.raw_block: whole(5))
    assert rpc.block(5).ref == chain.ref(5)
    with pytest.raises(ChainError, match="expected the block"):
        rpc.block(6)


def test_a_block_whose_transactions_are_not_its_own_is_refused(facade, chain, monkeypatch):
    rpc = RpcChain(facade.node, "regtest")
    monkeypatch.setattr(chain, "raw_block", lambda height, whole=chain.raw_block: whole(5)[:80] + whole(6)[80:])
    with pytest.raises(ChainError, match="not what its header says"):
        rpc.block(5)


def test_a_transaction_that_is_known_is_as_good_as_sent(funded):
    with Facade(funded.chain) as facade:
        rpc = RpcChain(facade.node, "regtest")
        unsigned = funded.draft()
        raw = funded.party.finish(funded.wallet, unsigned)
        assert rpc.broadcast(raw) == rpc.broadcast(raw) == unsigned.txid
        funded.chain.mine()
        assert rpc.broadcast(raw) == unsigned.txid
        with pytest.raises(ChainError, match="expected a transaction"):
            rpc.broadcast(raw[:-1])
        assert read_transaction(raw).txid == unsigned.txid
