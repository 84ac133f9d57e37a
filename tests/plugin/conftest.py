"""Distributions made up on the spot, and a registry of parts that do nothing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from perpkit.engine.config import ExchangeConfig
from perpkit.plugin import Registry

FEES = """
from perpkit.plugin import FEES, NoOptions, hookimpl

class Fees:
    def __init__(self, context, options): ...
    def rate_ppb(self, account, maker, /): return 0

@hookimpl
def perpkit_fee_schedules():
    return [FEES.provider(name="flat", build=Fees, options=NoOptions, summary="no fees")]
"""

PARTS = Path(__file__).with_name("parts.py")

FAKES = """
[exchange]
clearing = "fake"
margin = "fake"
mark_price = "fake"
index_price = "fake"
funding = "fake"
fees = "fake"
book = "fake"
liquidation = "fake"
deleveraging = "fake"
insurance = "fake"
custody = "fake"
journal = "fake"

[assets.USD]
id = 1
unit = "0.01"
deposits_max = "1000000"
"""

MARKET = """
[markets.{name}]
id = {id}
kind = "linear"
settlement = "USD"
tick = "0.5"
lot = "0.001"
price_min = "500"
price_max = "100000"
order_max = "100"
open_interest_max = "10000"
brackets = [{{ up_to = "1000000", initial = "1%", maintenance = "0.5%" }}]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution, its entry points and its modules on the path.

    What else is installed on this machine stays out of sight.
    """
    made, path, distributions = [], [], metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda: distributions(path=path))

    def install(name, modules=None, *, version="1.0", groups=("perpkit.v1",), folder="site", entry=None):
        modules = {name.replace("-", "_"): FEES} if modules is None else modules
        site = tmp_path / folder
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
        entries = "\n".join(f"{entry or module} = {module}" for module in modules)
        (info / "entry_points.txt").write_text("\n".join(f"[{group}]\n{entries}\n" for group in groups), "utf-8")
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source, "utf-8")
        if str(site) not in path:
            path.insert(0, str(site))
            monkeypatch.syspath_prepend(str(site))
        importlib.invalidate_caches()
        made.extend(modules)
        return info

    yield install
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def flat():
    """The source of a plugin that offers the fee schedule `flat`."""
    return FEES


@pytest.fixture
def discover():
    """Return a function that discovers without perpkit's own parts."""
    return lambda allow=None: Registry.discover(allow, builtin=())


@pytest.fixture
def module():
    """Return a function that makes a module out of source."""

    def make(name, source):
        made = types.ModuleType(name)
        exec(source, made.__dict__)
        return made

    return make


@pytest.fixture
def parts():
    """A fresh copy of `parts.py`: a part named `fake` for every port."""
    spec = importlib.util.spec_from_file_location("parts", PARTS)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def registry(parts):
    return Registry.of(parts, builtin=())


@pytest.fixture
def config_text():
    """Return a function that writes a configuration of fakes with further lines for [exchange] and its market BTC."""

    def write(exchange="", market="", *, second=False, replace=None):
        fakes = FAKES.replace(f'{replace} = "fake"\n', "").replace("[assets.USD]", f"{exchange}\n[assets.USD]")
        other = MARKET.format(name="ETH", id=2) if second else ""
        return fakes + other + MARKET.format(name="BTC", id=1) + market

    return write


@pytest.fixture
def config(config_text):
    """Return a function that reads what `config_text` writes."""
    return lambda *lines, **more: ExchangeConfig.from_text(config_text(*lines, **more))
