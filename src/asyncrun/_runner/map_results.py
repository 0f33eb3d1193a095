"""Many blocking calls as a stream of results: what `Runner.map` gives.

Rules of this module:

- Here is the reader's side: to enter, to read, to leave.
- A map is new, entered or exited (`group.State`), in this order; to read it, it must be entered:

  ======= ======================================== ==========================================
  state   leaves it by                             what runs meanwhile
  ======= ======================================== ==========================================
  NEW     ``async with``                           nothing
  ENTERED the end of the block, in whatever way    items, unless the batch was closed: by an
                                                   error, the runner's end, or a cancellation
  EXITED  nothing                                  items that are left and have not ended
  ======= ======================================== ==========================================
- What ends a map closes its batch first: nothing more begins, and what runs is asked to stop.
- `map_input` takes the items, `map_scheduler` sees to their slots and time-outs, and `_core.batch`
  brings the outcomes here.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, NoReturn, TypeVar, final

import anyio
import anyio.lowlevel

from .._core.batch import PENDING, SUCCEEDED, Batch
from .._core.errors import WrongStateError
from .._system.eventloop import cancellation_types
from .._workers.starvation import warn
from .group import State, stop_reason
from .map_input import YIELD_INTERVAL, MapInput
from .map_scheduler import MapScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from types import TracebackType
    from typing import Self

    from .._workers.base import Worker
    from .group import Group

T_co = TypeVar("T_co", covariant=True)

STALL_CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks whether a map that waits can go on at all."""

STALL_CHECKS: Final = 2
"""How many of them in a row must find that it cannot, until it says so in the log."""


class Options(NamedTuple):
    """The options of a map; see `Runner.map`."""

    ordered: bool
    buffersize: int
    item_timeout: float | None
    return_exceptions: bool
    max_concurrency: int


@final
class MapResults(Generic[T_co]):
    """The results of a `Runner.map`: an async context manager, and in it an async iterator.

    It may be iterated by any task of its event loop, and by several, which then share the
    results. To iterate lets the event loop turn at least every millisecond.
    """

    def __init__(
        self,
        func: Callable[..., T_co],
        items: Iterable[Any] | AsyncIterable[Any],
        options: Options,
        group: Group,
        worker: Worker,
    ) -> None:
        self._options = options
        self._group = group
        self._batch: Batch[Any] = Batch(
            func,
            owner=group.owner,
            ordered=options.ordered,
            captured_errors=(Exception,) if options.return_exceptions else (),
            call_soon_threadsafe=group.call_soon_threadsafe,
            silent_late_errors=cancellation_types(),
        )
        self._scheduler = MapScheduler(
            self._batch, worker, options.max_concurrency, on_consumer_end=self._notify
        )
        self._input = MapInput(items, self._batch, options.buffersize, options.max_concurrency)
        self._state = State.NEW
        self._exit_stack = ExitStack()
        self._opened = anyio.Event()
        self._changed = anyio.Event()
        self._read_lock = anyio.Lock(fast_acquire=True)
        self._yield_at = 0.0
        self._has_failed = False
        self._stalled_checks = 0

    def __repr__(self) -> str:
        return f"<map of {self._batch.function} by {self._group.owner!r}>"

    @property
    def total(self) -> int | None:
        """How many items there are; None if the input has no length."""
        return self._input.total

    @property
    def started(self) -> int:
        """How many items have begun to run."""
        return self._batch.counts()[0]

    @property
    def done(self) -> int:
        """How many items have an outcome: a result, an error or a time-out."""
        return self._batch.counts()[1]

    @property
    def failed(self) -> int:
        """How many of those that are `done` have no result."""
        return self._batch.counts()[2]

    @property
    def running(self) -> int:
        """How many items run now; without those that have timed out, whose threads may be stuck."""
        return len(self._batch.running)

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise WrongStateError(self, self._state.value, "call Runner.map() again")
        self._group.check_entered("Runner.map()")
        self._state = State.ENTERED
        self._batch.closed = False
        self._scheduler.take_context()
        self._exit_stack.enter_context(self._group.token.on_stop(self._on_stop))
        try:
            self._group.spawn(self._hold_task_group(), repr(self))
            await self._opened.wait()
            tasks = self._scheduler.tasks
            if not self._batch.closed and self._pull() and tasks is not None:
                tasks.start_soon(self._prefill)
        except BaseException:
            self._batch.close("its map was left")
            self._close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        batch = self._batch
        self._state = State.EXITED
        try:
            batch.close("its map was left")
            self._input.release_input()
            batch.drop_pending()
            for item in list(batch.running):
                batch.abandon(item)
            is_cancelled = isinstance(exc, anyio.get_cancelled_exc_class())
            if not is_cancelled and not self._group.token.is_set():
                with anyio.move_on_after(self._group.grace):
                    # To be cancelled is fine.
                    await self._wait_while(self._is_ending)  # noqa: ASYNC102
                batch.is_abandoned = True
        finally:
            self._close()
            del exc, traceback
            with anyio.move_on_after(self._group.grace, shield=True):
                await self._wait_while(lambda: self._scheduler.tasks is not None)

    def _is_ending(self) -> bool:
        if self._scheduler.tasks is None:  # nobody tells any longer when something has ended
            return False
        stuck = list(self._batch.abandoned)
        return len(self._batch.consumers) > len(stuck) or any(
            item.is_cooperative() for item in stuck
        )

    def _notify(self) -> None:
        self._changed.set()

    async def _wait_while(self, busy: Callable[[], bool]) -> None:
        while busy():
            self._changed = anyio.Event()
            await self._changed.wait()

    def _close(self) -> None:
        self._state = State.EXITED
        if self._scheduler.tasks is not None:
            self._scheduler.tasks.cancel_scope.cancel()
        self._exit_stack.close()
        self._batch.notify_reader()
        self._batch.detach_reader()

    async def _hold_task_group(self) -> None:
        """Hold the tasks of this map, so that one cancellation ends them all."""
        try:
            async with anyio.create_task_group() as tasks:
                self._scheduler.tasks = tasks
                self._opened.set()
                if self._state is State.ENTERED:
                    tasks.start_soon(self._input.pull_async, self._scheduler.request_consumer)
                    if (timeout := self._options.item_timeout) is not None:
                        tasks.start_soon(self._scheduler.enforce_timeouts, timeout)
                    await anyio.sleep_forever()
            self._fail_if_cancelled_alone()
        except anyio.get_cancelled_exc_class() as exc:
            self._group.cancel(stop_reason(exc))  # it is the group that is being cancelled
            raise
        finally:
            self._scheduler.tasks = None
            self._notify()

    def _fail_if_cancelled_alone(self) -> None:
        if not self._batch.closed:
            how = "was cancelled by its input, or by other means than AnyIO's"
            self._batch.fail(WrongStateError(self, how, "let the input raise something else"))

    def _on_stop(self) -> None:
        self._batch.close(self._group.token.reason)
        self._batch.notify_reader()

    #
    # Reading
    #

    def __aiter__(self) -> Self:
        self._check_entered()
        return self

    async def __anext__(self) -> T_co:
        intake, batch = self._input, self._batch
        if intake.pulled - intake.consumed <= intake.refill_below and not batch.closed:
            self._pull()
        queue = batch.output
        if (
            not queue
            or queue[0].state is PENDING
            or batch.closed
            or time.monotonic() >= self._yield_at
        ):
            await self._until_ready()
        intake.consumed += 1
        item = queue.popleft()
        if item.state is not SUCCEEDED:
            return item.take_error()  # type: ignore[return-value] # as `Runner.map` declares it
        outcome: T_co = item.outcome
        return outcome

    def _check_entered(self) -> None:
        if self._state is not State.ENTERED:
            hint = "use it as `async with runner.map(...) as results:`"
            raise WrongStateError(self, self._state.value, hint)

    async def _until_ready(self) -> None:
        batch, intake = self._batch, self._input
        async with self._read_lock:
            if self._is_ready():
                await anyio.lowlevel.checkpoint()
            while True:
                self._check_entered()
                if batch.closed:
                    await self._raise_failure()
                self._yield_at = time.monotonic() + YIELD_INTERVAL
                has_more = intake.has_capacity() and self._pull()
                if self._is_ready():
                    return
                if intake.is_done():
                    self._raise_end_of_input()
                if has_more:
                    await anyio.lowlevel.checkpoint()  # it takes longer than that
                else:
                    await self._wait()

    async def _wait(self) -> None:
        batch, waker = self._batch, anyio.Event()
        item = batch.output[0] if batch.ordered and batch.output else None
        with (
            anyio.move_on_after(STALL_CHECK_INTERVAL) as scope,
            batch.reader_waiting(waker.set, item),
        ):
            if not self._has_progress():
                await waker.wait()
        if not scope.cancelled_caught:
            self._stalled_checks = 0
            return
        # The first look may come in the very moment in which a call was asked to stop.
        self._stalled_checks = self._stalled_checks + 1 if self._scheduler.is_stalled() else 0
        if self._stalled_checks == STALL_CHECKS:
            warn(self, "waits", self._scheduler.holders())

    def _is_ready(self) -> bool:
        queue = self._batch.output
        return bool(queue) and queue[0].state is not PENDING

    def _has_progress(self) -> bool:
        return self._is_ready() or self._batch.closed or self._input.is_done()

    async def _raise_failure(self) -> NoReturn:
        """Raise what has ended the map before its time."""
        if self._group.token.is_set():
            await self._group.raise_stopped()
        if self._has_failed:
            raise StopAsyncIteration
        self._has_failed = True
        error, item = self._batch.failures.pop(0)
        if item is not None:
            item.take_error()
        try:
            raise _raisable(error)
        finally:
            del error

    def _raise_end_of_input(self) -> NoReturn:
        error, self._input.error = self._input.error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise _raisable(error)
        finally:
            del error

    def _pull(self) -> bool:
        has_more = self._input.pull()
        self._scheduler.request_consumer()
        return has_more

    async def _prefill(self) -> None:
        """Take what there is room for, though nobody reads yet, so that no slot is without work."""
        has_more = True
        while has_more and not self._batch.closed:
            pulled = self._input.pulled
            await anyio.lowlevel.checkpoint()
            # If the reader has just taken some, it is not for this to take time as well.
            has_more = self._input.pulled != pulled or self._pull()


def _raisable(error: BaseException) -> BaseException:
    """Wrap what would end an ``async for`` silently, or be taken for a cancellation."""
    if not isinstance(error, (StopIteration, StopAsyncIteration, *cancellation_types())):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} was raised where it has no meaning")
    wrapped.__cause__ = error
    return wrapped
