"""What the suites of all ports share: numbered rules, waivers, capabilities, and manners."""

import copy
import inspect
import os
import random
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings

from perpkit.errors import ConfigError
from perpkit.plugin import Port
from perpkit.testing.conformance import exercise as exercise_module

PortT = TypeVar("PortT")
ContextT = TypeVar("ContextT")
TestT = TypeVar("TestT", bound=Callable[..., None])
AnswerT = TypeVar("AnswerT")

FORBIDDEN: tuple[tuple[object, tuple[str, ...]], ...] = (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    (random, ("random", "randint", "randrange", "choice", "shuffle", "getrandbits")),
    (os, ("urandom",)),
    (threading.Thread, ("start",)),
)


law: settings = settings(
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
)
"""For the properties of a suite: they are run for one part after another, however long a part takes.

Explaining a failure would run the part under a tracer, many times over; the shrunk input says enough.
"""


@attrs.frozen(kw_only=True)
class Rule:
    """One thing that a part has to keep. `needs` is the capability without which it does not apply."""

    id: str
    promise: str
    needs: str = ""


def rule(number: int, promise: str, *, needs: str = "") -> Callable[[TestT], TestT]:
    """Number a test of a suite and say what it promises; the number is never used again for something else."""

    def numbered(test: TestT) -> TestT:
        test.__dict__["rule"] = (number, promise, needs)
        return test

    return numbered


class Conformance(ABC, Generic[PortT, ContextT]):
    """A suite of rules for one port. Subclass the one of your port, write `make`, and let pytest find it.

    `capabilities` are what the provider declares; a rule that needs another is skipped. `waivers` maps the id of a rule
    to the reason why this part does not keep it: the rule must then fail, and turns red once it passes.

    Raises:
        ConfigError: a waiver of a rule that does not exist.
    """

    port: ClassVar[Port[Any, Any]]
    code: ClassVar[str]
    """What the ids of this port's rules begin with."""
    capabilities: ClassVar[frozenset[str]] = frozenset()
    waivers: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" in cls.__dict__ or not hasattr(cls, "code"):
            return
        unknown = set(cls.waivers) - {each.id for each in rules_of(cls)}
        if unknown:
            raise ConfigError(f"{cls.__qualname__}.waivers: expected ids of rules, was {', '.join(sorted(unknown))}")

    @abstractmethod
    def make(self, context: ContextT) -> PortT:
        """Return a new part, as a provider's `build` would."""

    @abstractmethod
    def context(self) -> ContextT:
        """Return the context that the exercise is done in."""

    @abstractmethod
    def exercise(self, part: PortT) -> list[object]:
        """Ask a part a fixed list of questions that reach all it does; return the answers."""

    def made(self) -> PortT:
        """Return a new part in the context of the exercise."""
        return self.make(self.context())

    def clean_up(self) -> None:
        """Let go of what a rule made; for parts that hold files or threads. Called after each rule."""

    @pytest.fixture(autouse=True)
    def _judge(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Skip what needs a capability that is not there, and expect what is waived to fail."""
        found = _rule(type(self), request.function)
        if found and found.needs and found.needs not in self.capabilities:
            pytest.skip(f"{found.id}: needs the capability {found.needs!r}")
        if found and found.id in self.waivers:
            request.applymarker(pytest.mark.xfail(reason=f"{found.id}: {self.waivers[found.id]}", strict=True))
        yield
        self.clean_up()

    @rule(900, "has every member of the port")
    def test_has_every_member(self) -> None:
        """A part that lacks a member is refused when the exchange is composed."""
        assert self.port.missing(self.made()) == ()

    @rule(910, "gives the same answers to the same questions")
    def test_same_answers(self) -> None:
        """Two parts made alike are asked alike."""
        assert self.exercise(self.made()) == self.exercise(self.made())

    @rule(920, "asks no clock, draws no numbers, starts no thread")
    def test_asks_nobody_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever an answer depends on has to be in the question."""
        part = self.made()

        def forbidden(*_: object, **__: object) -> None:
            raise AssertionError("a part asked a clock or for chance, or started a thread")

        with monkeypatch.context() as patched:
            for owner, names in FORBIDDEN:
                for name in names:
                    patched.setattr(owner, name, forbidden)
            self.exercise(part)

    @rule(930, "gives the same answers under every hash seed")
    def test_hash_seeds(self) -> None:
        """The order of a set of text differs between two runs of Python; answers must not."""
        seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # another than that of this process
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        source = [inspect.getfile(type(self)), type(self).__qualname__]
        told = subprocess.run(  # noqa: S603 - the author's own file, under the author's own Python
            [sys.executable, exercise_module.__file__, *source],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert told.stdout == repr(self.exercise(self.made())), f"other answers under PYTHONHASHSEED={seed}"

    @rule(940, "leaves what it is shown as it was")
    def test_arguments_unchanged(self) -> None:
        """Mappings and lists that a part is shown belong to who shows them."""
        part = Watched(self.made())
        self.exercise(part)  # type: ignore[arg-type]
        assert part.changed == []


class OutsideConformance(Conformance[PortT, ContextT]):
    """Rules for parts that stand outside the exchange: custody and journal.

    A replay calls neither. They may block, ask a clock and start threads, so rule 920 is not theirs.
    """

    # Neither pytest nor `rules_of` takes this for a test.
    test_asks_nobody_else: Any = None


class Fold(Protocol):
    """What a part that remembers has beside its answers."""

    def dump(self) -> bytes:
        """Return the whole state."""
        ...

    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...


FoldT = TypeVar("FoldT", bound=Fold)


class FoldConformance(Conformance[FoldT, ContextT]):
    """Rules for parts that own a state: index, mark, funding, insurance."""

    @rule(950, "a part that is loaded goes on as the one that was dumped")
    def test_dump_and_load(self) -> None:
        """And dumps the same bytes; what it remembered before is gone."""
        part, loaded = self.made(), self.made()
        self.exercise(part)
        self.exercise(loaded)
        self.exercise(part)
        state = part.dump()
        assert type(state) is bytes
        loaded.load(state)
        assert loaded.dump() == state
        assert self.exercise(loaded) == self.exercise(part)
        assert loaded.dump() == part.dump()


class Watched:
    """Stands before a part, and notes the methods that changed an argument."""

    def __init__(self, part: object) -> None:
        self.changed: list[str] = []
        self._part = part

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._part, name)
        if not callable(member):
            return member

        def watched(*arguments: Any) -> Any:
            before = copy.deepcopy(arguments)
            answer = member(*arguments)
            if arguments != before:
                self.changed.append(name)
            return answer

        return watched


def broken(suite: Conformance[Any, Any], rule_id: str) -> BaseException | None:
    """Run one rule of a suite here and now; return what it raised, None when it is kept. Waivers do not count."""
    for _, test in inspect.getmembers(suite, inspect.ismethod):
        found = _rule(type(suite), test)
        if found and found.id == rule_id:
            given = [pytest.MonkeyPatch()] if "monkeypatch" in inspect.signature(test).parameters else []
            try:
                test(*given)
            except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a broken part may raise anything
                return error
            finally:
                suite.clean_up()
            return None
    raise ConfigError(f"expected the id of a rule of {type(suite).__qualname__}, was {rule_id!r}")


def rules_of(suite: type[Conformance[Any, Any]]) -> list[Rule]:
    """Return the rules of a suite, by id."""
    found = (_rule(suite, member) for _, member in inspect.getmembers(suite, inspect.isfunction))
    return sorted((each for each in found if each), key=lambda each: each.id)


def _rule(suite: type[Conformance[Any, Any]], test: object) -> Rule | None:
    marked: tuple[int, str, str] | None = getattr(test, "rule", None)
    if marked is None:
        return None
    number, promise, needs = marked
    return Rule(id=f"{suite.code}-{number:03}", promise=promise, needs=needs)
