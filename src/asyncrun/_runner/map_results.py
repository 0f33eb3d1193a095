"""Many blocking calls as a stream of results: what `Runner.map` gives.

Rules of this room:

- Here is the reader's side: to enter, to read, to leave; and what sees to it that there are
  workers, and that items which take too long have an outcome.
- What ends a map closes its batch first: nothing more begins, and what runs is asked to stop.
- Where items run is the business of a `Worker`, how they are taken of `map_input`, and how outcomes
  come here of `_core.batch`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, final

import anyio
import anyio.lowlevel

from .._core.batch import SUCCEEDED, WAITS, Batch
from .._core.errors import ItemTimeoutError, WrongStateError
from .._core.registry import pid_of
from .._workers.starvation import warn
from .._workers.thread.worker import cancellations
from .group import State, why
from .map_input import TURN, Intake

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

    from anyio.abc import TaskGroup

    from .._core.registry import Running
    from .._workers.base import Worker
    from .group import Group

T_co = TypeVar("T_co", covariant=True)

PATIENCE: Final = 1.0
"""Seconds between two looks whether a map that waits can go on at all."""

LOOKS: Final = 2
"""How many of them in a row must find that it cannot, until it says so in the log."""


@final
@dataclass(frozen=True, slots=True)
class Options:
    """The options of a map; see `Runner.map`."""

    ordered: bool
    buffer: int
    timeout: float | None
    keep_errors: bool
    limit: int


@final
class Results(Generic[T_co]):
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
        self._limit = options.limit
        self._group = group
        self._worker = worker
        self._batch: Batch[Any] = Batch(
            func,
            owner=group.owner,
            ordered=options.ordered,
            kept=(Exception,) if options.keep_errors else (),
            post=group.post,
            staff=self._staff,
            expected=cancellations(),
        )
        self._intake = Intake(items, self._batch, options.buffer, options.limit)
        self._state = State.NEW
        self._exit = ExitStack()
        self._tasks: TaskGroup | None = None
        self._opened = anyio.Event()
        self._changed = anyio.Event()
        self._reading = anyio.Lock(fast_acquire=True)
        self._turn = 0.0
        self._has_failed = False
        self._is_asking = False
        self._stuck_looks = 0
        self._context = Context()

    def __repr__(self) -> str:
        return f"<map of {self._batch.function} by {self._group.owner!r}>"

    @property
    def total(self) -> int | None:
        """How many items there are; None if the input has no length."""
        return self._intake.total

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
        return len(self._batch.busy)

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise WrongStateError(self, self._state.value, "call Runner.map() again")
        self._group.check_entered("Runner.map()")
        self._state = State.ENTERED
        self._batch.closed = False
        self._context = copy_context()  # for the items, whoever reads the results
        self._exit.enter_context(self._group.token.on_stop(self._on_stop))
        try:
            self._group.spawn(self._keep(), repr(self))
            await self._opened.wait()
            if not self._batch.closed and self._refill() and self._tasks is not None:
                self._tasks.start_soon(self._fill)
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
        self._state = State.LEFT
        try:
            batch.close("its map was left")
            self._intake.forget()
            batch.drop_pending()
            for item in list(batch.busy):
                batch.abandon(item)
            is_cancelled = isinstance(exc, anyio.get_cancelled_exc_class())
            if not is_cancelled and not self._group.token.is_set():
                with anyio.move_on_after(self._group.grace):
                    # To be cancelled is fine.
                    await self._wait_while(self._is_ending)  # noqa: ASYNC102
                batch.given_up = True
        finally:
            self._close()
            del exc, traceback
            with anyio.move_on_after(self._group.grace, shield=True):
                await self._wait_while(lambda: self._tasks is not None)

    def _is_ending(self) -> bool:
        if self._tasks is None:  # nobody tells any longer when something has ended
            return False
        stuck = list(self._batch.stuck)
        return len(self._batch.servers) > len(stuck) or any(item.heeds() for item in stuck)

    async def _wait_while(self, busy: Callable[[], bool]) -> None:
        while busy():
            self._changed = anyio.Event()
            await self._changed.wait()

    def _close(self) -> None:
        self._state = State.LEFT
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
        self._exit.close()
        self._batch.wake()
        self._batch.leave()

    async def _keep(self) -> None:
        """Hold the tasks of this map, so that one cancellation ends them all."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._opened.set()
                if self._state is State.ENTERED:
                    self._tasks.start_soon(self._intake.feed, self._staff)
                    if self._options.timeout is not None:
                        self._tasks.start_soon(self._watch, self._options.timeout)
                    await anyio.sleep_forever()
            self._end_unasked()
        except anyio.get_cancelled_exc_class() as exc:
            self._group.halt(why(exc))  # it is the group that is being cancelled
            raise
        finally:
            self._tasks = None
            self._changed.set()

    def _end_unasked(self) -> None:
        if not self._batch.closed:
            how = "was cancelled by its input, or by other means than AnyIO's"
            self._batch.fail(WrongStateError(self, how, "let the input raise something else"))

    def _on_stop(self) -> None:
        self._batch.close(self._group.token.reason)
        self._batch.wake()

    #
    # Reading
    #

    def __aiter__(self) -> Self:
        self._check_entered()
        return self

    async def __anext__(self) -> T_co:
        intake, batch = self._intake, self._batch
        if intake.taken - intake.given <= intake.low and not batch.closed:
            self._refill()
        queue = batch.queue
        if not queue or queue[0].state == WAITS or batch.closed or time.monotonic() >= self._turn:
            await self._until_ready()
        intake.given += 1
        item = queue.popleft()
        if item.state != SUCCEEDED:
            return item.take_error()  # type: ignore[return-value] # as `Runner.map` declares it
        outcome: T_co = item.outcome
        return outcome

    def _check_entered(self) -> None:
        if self._state is not State.ENTERED:
            cure = "use it as `async with runner.map(...) as results:`"
            raise WrongStateError(self, self._state.value, cure)

    async def _until_ready(self) -> None:
        batch, intake = self._batch, self._intake
        async with self._reading:
            if self._is_ready():
                await anyio.lowlevel.checkpoint()
            while True:
                self._check_entered()
                if batch.closed:
                    await self._raise_why()
                self._turn = time.monotonic() + TURN
                has_more = intake.has_room() and self._refill()
                if self._is_ready():
                    return
                if intake.is_done():
                    self._raise_end()
                if has_more:
                    await anyio.lowlevel.checkpoint()  # it takes longer than that
                else:
                    await self._wait()

    async def _wait(self) -> None:
        with anyio.move_on_after(PATIENCE) as scope:
            await self._batch.wait(self._is_news)
        if not scope.cancelled_caught:
            self._stuck_looks = 0
            return
        # The first look may come in the very moment in which a call was asked to stop.
        self._stuck_looks = self._stuck_looks + 1 if self._is_stuck() else 0
        if self._stuck_looks == LOOKS:
            warn(self, "waits", self._holders())

    def _is_ready(self) -> bool:
        queue = self._batch.queue
        return bool(queue) and queue[0].state != WAITS

    def _is_news(self) -> bool:
        return self._is_ready() or self._batch.closed or self._intake.is_done()

    async def _raise_why(self) -> NoReturn:
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

    def _raise_end(self) -> NoReturn:
        error, self._intake.error = self._intake.error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise _raisable(error)
        finally:
            del error

    #
    # The workers
    #

    def _refill(self) -> bool:
        has_more = self._intake.refill()
        self._staff()
        return has_more

    async def _fill(self) -> None:
        """Take what there is room for, though nobody reads yet, so that no slot is without work."""
        has_more = True
        while has_more and not self._batch.closed:
            taken = self._intake.taken
            await anyio.lowlevel.checkpoint()
            # If the reader has just taken some, it is not for this to take time as well.
            has_more = self._intake.taken != taken or self._refill()

    def _staff(self) -> None:
        """Ask for one more slot if there is work for it; the next one when this one is there."""
        batch = self._batch
        if (
            len(batch.servers) < self._limit
            and not self._is_asking
            and batch.lacks_servers()
            and self._tasks is not None
        ):
            self._is_asking = True
            self._context.copy().run(self._tasks.start_soon, self._serve)

    async def _serve(self) -> None:
        is_admitted = is_over = False

        def admit() -> None:
            nonlocal is_admitted
            is_admitted = True
            self._is_asking = False
            self._staff()

        try:
            await self._worker.serve(self._batch, admit)
        except RuntimeError as exc:
            if not self._batch.servers:
                self._batch.fail(exc)
            self._limit = len(self._batch.servers)  # there are no more threads to be had
        except BaseException:
            is_over = True
            self._limit = 0  # it is cancelled: no other one is to take its place
            raise
        finally:
            if not is_admitted:
                self._is_asking = False
            if not is_over:
                self._changed.set()
                self._staff()

    async def _watch(self, timeout: float) -> None:  # noqa: ASYNC109 - it is each item's
        """See to it that items which take too long have an outcome."""
        batch = self._batch
        while True:
            now = time.monotonic()
            # Not while its process is being started.
            running = [item for item in list(batch.busy) if pid_of(item) != 0]
            for item in running:
                if item.started + timeout <= now:
                    error = ItemTimeoutError(batch.function, timeout, item.arg)
                    batch.expire(item, error, f"it took longer than {timeout:g} s")
            oldest = min((item.started for item in running), default=now)
            await anyio.sleep(max(oldest + timeout - now, TURN))

    def _is_stuck(self) -> bool:
        """Tell whether nothing goes on before a call ends that was asked to stop (rule 7)."""
        return not self._batch.pending.empty() and bool(self._holders())

    def _holders(self) -> Sequence[Running]:
        """Return the calls that were asked to stop and hold every slot that this may take."""
        stuck = list(self._batch.stuck)
        return stuck if len(stuck) >= self._limit else self._worker.holders()


def _raisable(error: BaseException) -> BaseException:
    """Wrap what would end an ``async for`` silently, or be taken for a cancellation."""
    if not isinstance(error, (StopIteration, StopAsyncIteration, *cancellations())):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} was raised where it has no meaning")
    wrapped.__cause__ = error
    return wrapped
