"""Progress of long work on stderr: bars with the extra `cli`, plain lines without."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self


class Progress:
    """Shows how far each of several named jobs is. Use it as a context manager."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._said: dict[str, int] = {}

    def __enter__(self) -> Self:
        try:
            from rich.console import Console
            from rich.progress import Progress as Bars
        except ImportError:
            return self
        console = Console(stderr=True)
        if console.is_terminal:
            self._bars = Bars(console=console, transient=True)
            self._bars.start()
            self._tasks = {name: self._bars.add_task(name) for name in self._names}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, name: str, done: int, total: int) -> None:
        """Tell that `done` of `total` of a job is done."""
        if self._bars:
            self._bars.update(self._tasks[name], completed=done, total=total)
            return
        quarter = done * 4 // total
        if quarter > self._said.get(name, 0):
            self._said[name] = quarter
            print(f"{name}: {quarter * 25} %", file=sys.stderr)
