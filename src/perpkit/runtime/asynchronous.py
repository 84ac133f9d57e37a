"""A venue for asyncio: the same intake, pumped by a thread of its own, so that the event loop never waits."""

import asyncio
import functools
import logging
import threading
import time
from collections.abc import AsyncGenerator
from typing import Self, TypeAlias

from perpkit.engine.exchange import Outcome
from perpkit.errors import PerpkitError
from perpkit.model.command import Command
from perpkit.runtime.intake import ClosedError, Intake
from perpkit.units import Nanos

logger: logging.Logger = logging.getLogger(__name__)

Told: TypeAlias = tuple[Nanos, Outcome]
_Stream: TypeAlias = "asyncio.Queue[Told | PerpkitError | None]"


class AsyncVenue:
    """Awaits what an intake answers. `async with` starts its thread; leaving it stops in good order.

    The thread pumps, and calls the venue's `tick` about every `tick_seconds`. A tick that fails is logged, and tried
    again with the next. How often custody is polled is for whoever runs it: `await asyncio.to_thread(venue.poll)`.

    Example:
        >>> from perpkit.engine.compose import build_custody, build_journal
        >>> from perpkit.engine.config import ExchangeConfig
        >>> from perpkit.engine.exchange import Exchange
        >>> from perpkit.model.command import CancelOrder
        >>> from perpkit.plugin import Registry
        >>> from perpkit.runtime.venue import Venue
        >>> from perpkit.simulate.world import configuration
        >>> config = ExchangeConfig.from_text(configuration("stepped"))
        >>> exchange, registry = Exchange.of(config), Registry.builtin()
        >>> journal = build_journal(config, registry, exchange.manifest, "")
        >>> venue = Venue(exchange, build_custody(config, registry), journal, clock=lambda: 1)
        >>> async def cancel(order_id):
        ...     async with AsyncVenue(Intake(venue)) as face:
        ...         return await face.submit(CancelOrder(account=1, market=1, order_id=order_id))
        >>> asyncio.run(cancel(7)).rejected.text
        'unknown-account'
    """

    def __init__(self, intake: Intake, *, tick_seconds: float = 0.1) -> None:
        self._intake = intake
        self._tick_seconds = tick_seconds
        self._thread = threading.Thread(target=self._work, name="perpkit-venue", daemon=True)
        self._fault: Exception | None = None
        self._streams: set[_Stream] = set()

    async def __aenter__(self) -> Self:
        self._intake.venue.subscribe(functools.partial(self._tell, asyncio.get_running_loop()))
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def submit(self, command: Command) -> Outcome:
        """Have a command done and return what it did. It is done even if nobody waits for it any more.

        Rejects:
            overloaded: see `Intake.offer`.

        Raises:
            UnitsError, LaneFullError, ClosedError: see `Intake.offer`.
            JournalError, HaltedError, Exception: see `Venue.submit_all`.
        """
        return await asyncio.wrap_future(self._intake.offer(command))

    def outcomes(self, *, waiting_max: int = 65_536) -> AsyncGenerator[Told, None]:
        """Iterate over the stamp and the outcome of every command from now on, in order, until the venue stops.

        Raises:
            PerpkitError: more than `waiting_max` outcomes wait for this reader. It is cut off, and may read the book
                and start again; the exchange does not wait for it.
            ClosedError: the venue was stopped before.
        """
        if self._intake.stopped:
            raise ClosedError("expected a running venue: it was stopped and tells nothing more")
        # The last place is kept for what ends the stream.
        stream: _Stream = asyncio.Queue(waiting_max + 1)
        self._streams.add(stream)
        return self._read(stream)

    async def stop(self) -> None:
        """Take nothing more, do what waits, and close the venue.

        Raises:
            Exception: what closing the venue raised; else the fault of the last `tick`, if it had one.
        """
        try:
            await asyncio.to_thread(self._close)
        finally:
            while self._streams:
                self._streams.pop().put_nowait(None)
        if self._fault:
            raise self._fault

    def _close(self) -> None:
        self._intake.stop()
        self._thread.join()
        self._intake.close()

    def _work(self) -> None:
        due = time.monotonic()
        while not self._intake.stopped:
            self._intake.wait(self._tick_seconds)
            self._intake.pump()
            if time.monotonic() >= due:
                due = time.monotonic() + self._tick_seconds
                self._tick()

    def _tick(self) -> None:
        self._fault = None
        try:
            self._intake.venue.tick()
        except Exception as fault:
            # Tickets must be answered all the same; `stop` raises it.
            self._fault = fault
            logger.warning("a tick failed", exc_info=fault)

    def _tell(self, loop: asyncio.AbstractEventLoop, at_ns: Nanos, outcome: Outcome) -> None:
        if self._streams:
            loop.call_soon_threadsafe(self._put, (at_ns, outcome))

    def _put(self, told: Told) -> None:
        for stream in tuple(self._streams):
            if stream.qsize() < stream.maxsize - 1:
                stream.put_nowait(told)
            else:
                self._streams.remove(stream)
                stream.put_nowait(PerpkitError(f"outcomes: expected a reader at most {stream.maxsize - 1} behind"))

    async def _read(self, stream: _Stream) -> AsyncGenerator[Told, None]:
        try:
            while (told := await stream.get()) is not None:
                if isinstance(told, PerpkitError):
                    raise told
                yield told
        finally:
            self._streams.discard(stream)
