"""Loading plugins one at a time, so that a bad one is named and harms nobody else."""

import importlib
import re
import reprlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import attrs
import pluggy

from perpkit.errors import PluginError
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.hookspecs import PROJECT, PerpkitSpecs
from perpkit.plugin.port_list import PORTS
from perpkit.plugin.provider import Port, Provider

GROUP = "perpkit.v1"
"""The entry point group: its number changes only when the hooks themselves become incompatible."""

_ANY_GROUP = re.compile(r"perpkit\.v\d+")


@attrs.frozen(kw_only=True)
class Origin:
    """Where a provider came from: the plugin's module, and the installed distribution with its version."""

    plugin: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.plugin})"


@attrs.frozen(kw_only=True)
class Problem:
    """Why a plugin, or something it offers, cannot be used. Harmless unless a configuration needs it."""

    origin: Origin
    text: str
    error: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.origin}: {self.text}"


@attrs.frozen(kw_only=True)
class Offer:
    """A provider, and where it came from."""

    provider: Provider[Any]
    origin: Origin


class Loader:
    """Loads plugins into a plugin manager of its own, and asks each of them what it offers."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(PerpkitSpecs)
        self._loaded: list[tuple[Origin, object]] = []

    def builtin(self, modules: Iterable[str]) -> None:
        """Import perpkit's own parts by name, guarded like any other plugin."""
        for module in modules:
            origin = Origin(plugin=module, distribution="perpkit", version=_own_version())
            with self._guard(origin, "failed to load"):
                self._register(origin, module, importlib.import_module(module))

    def given(self, plugins: Iterable[object]) -> None:
        """Take plugins that the caller holds already; each counts as a distribution of its own name."""
        for index, plugin in enumerate(plugins):
            name = getattr(plugin, "__name__", None) or type(plugin).__qualname__
            origin = Origin(plugin=name, distribution=name, version="given")
            with self._guard(origin, "cannot be used"):
                self._register(origin, f"given {index}: {name}", plugin)

    def installed(self, allow: Iterable[str] | None) -> None:
        """Load the entry points of every installed distribution, or of the allowed ones only."""
        allowed = None if allow is None else {normal(name) for name in allow}
        for name, distribution in sorted(_distributions().items()):
            if allowed is None or name in allowed:
                origin = Origin(plugin="its entry points", distribution=distribution.name, version=distribution.version)
                with self._guard(origin, "cannot be read"):
                    self._entry_points(origin, sorted(distribution.entry_points, key=lambda entry: entry.name))

    def offers(self) -> tuple[Offer, ...]:
        """Ask each loaded plugin for each port, and return what can be used."""
        offers: list[Offer] = []
        for port in PORTS:
            for origin, plugin in self._loaded:
                with self._guard(origin, f"{port.hook} failed"):
                    offers += self._answer(port, origin, plugin)
        return tuple(offers)

    @contextmanager
    def _guard(self, origin: Origin, what: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything, and only it must suffer
            kind = "" if isinstance(error, PluginError) else f"{type(error).__name__}: "
            text = f"{what}: {kind}{' '.join(str(error).split())}"
            self.problems.append(Problem(origin=origin, text=text, error=error))

    def _report(self, origin: Origin, text: str) -> None:
        self.problems.append(Problem(origin=origin, text=text))

    def _entry_points(self, origin: Origin, entries: list[metadata.EntryPoint]) -> None:
        ours = [entry for entry in entries if entry.group == GROUP]
        for entry in ours:
            named = attrs.evolve(origin, plugin=entry.value)
            with self._guard(named, "failed to load"):
                self._register(named, f"{origin.distribution}:{entry.name}", entry.load())
        # A distribution may serve several generations at once: then the others are no problem.
        for entry in entries if not ours else ():
            if _ANY_GROUP.fullmatch(entry.group):
                text = f"speaks {entry.group}, this is {GROUP.rpartition('.')[2]}: install a release for {GROUP}"
                self._report(attrs.evolve(origin, plugin=entry.value), text)

    def _register(self, origin: Origin, key: str, plugin: object) -> None:
        if type(plugin).__hash__ is None:
            raise PluginError(
                f"expected a module or a hashable object, was a {type(plugin).__qualname__}, which is unhashable "
                "because it compares by value; name the module, or define the class with eq=False"
            )
        for before, loaded in self._loaded:
            if loaded == plugin:
                raise PluginError(f"expected a plugin of its own, was the one already loaded from {before}")
        try:
            self._manager.register(plugin, name=key)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            # The manager must not keep half a plugin: its hooks would be taken for somebody else's.
            unknown = self._unknown_hooks(plugin)
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise PluginError(unknown or str(error)) from error
        self._report_unmarked(origin, plugin)
        self._loaded.append((origin, plugin))

    def _hooks_of(self, plugin: object) -> list[str]:
        return [caller.name for caller in self._manager.get_hookcallers(plugin) or ()]

    def _unknown_hooks(self, plugin: object) -> str:
        hooks = [port.hook for port in PORTS]
        unknown = [name for name in self._hooks_of(plugin) if name not in hooks]
        return ", ".join(f"there is no hook {name!r}{did_you_mean(name, hooks)}" for name in unknown)

    def _report_unmarked(self, origin: Origin, plugin: object) -> None:
        marked = self._hooks_of(plugin)
        unmarked = [port.hook for port in PORTS if hasattr(plugin, port.hook) and port.hook not in marked]
        if unmarked:
            self._report(origin, f"{', '.join(unmarked)} is ignored: mark it with perpkit.plugin.hookimpl")
        elif not marked:
            self._report(origin, "offers nothing: expected a function such as perpkit_order_books with @hookimpl")

    def _answer(self, port: Port[Any, Any], origin: Origin, plugin: object) -> list[Offer]:
        others = [other for _, other in self._loaded if other is not plugin]
        answers = self._manager.subset_hook_caller(port.hook, others)()
        offers = []
        for item in [item for answer in answers for item in answer]:
            if not isinstance(item, Provider) or item.port is not port:
                expected = f"expected providers made by the {port.key} port"
                self._report(origin, f"{port.hook}: {expected}, was {reprlib.repr(item)}")
            elif item.api != port.api:
                behind = origin.distribution if item.api < port.api else "perpkit"
                text = f"{port.key} {item.name!r} is written for api {item.api}, this is api {port.api}"
                self._report(origin, f"{text}: upgrade {behind}")
            else:
                offers.append(Offer(provider=item, origin=origin))
        return offers


def normal(name: str) -> str:
    """Return a distribution name in the form in which all its spellings are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions() -> dict[str, metadata.Distribution]:
    # What stands earlier on the path shadows a later copy, as it does for an import.
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        try:
            name = distribution.metadata["Name"]
        except Exception:  # noqa: BLE001, S112 - what is left of a removed distribution has no name, and no plugin
            continue
        if name:
            found.setdefault(normal(name), distribution)
    return found


def _own_version() -> str:
    try:
        return metadata.version("perpkit")
    except metadata.PackageNotFoundError:
        return "source"  # run from a checkout that is not installed
