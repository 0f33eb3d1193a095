"""Many blocking calls as a stream of results: what `Runner.map` gives.

Rules of this room:

- The input is iterated in the event loop's thread: by who reads the results, or, where it is
  async, by a task. It is never more than ``buffer`` items ahead of the reader.
- Results come from other threads. Who has one stores it and then looks whether the reader waits;
  the reader says that it waits and then looks whether there is one. One wake-up serves for all
  results that are there when the loop gets to it.
- What ends a map closes its batch first: nothing more begins, and what runs is asked to stop.
- Whose items run, and where, is the business of a `Worker`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterable, Iterable, Sized
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, final

import anyio
import anyio.lowlevel

from ._calls import log_late
from ._errors import NotIterableError, TimedOutError, WrongStateError
from ._threads import cancellations
from ._work import Batch, Item

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from types import TracebackType
    from typing import Self

    from ._group import Group
    from ._work import Worker

T_co = TypeVar("T_co", covariant=True)

TURN: Final = 0.001
"""Seconds after which a reader that never has to wait lets the event loop turn once."""


@final
@dataclass(frozen=True, slots=True)
class Options:
    """The options of a map; see `Runner.map`."""

    ordered: bool
    buffer: int
    timeout: float | None
    keep_errors: bool
    limit: int


class _State(Enum):
    NEW = "is not entered yet"
    ENTERED = "is entered already"
    LEFT = "was left already"


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
        self._iterator: Iterator[Any] | None = None
        self._async_iterator: AsyncIterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._async_iterator = aiter(items)
        else:
            try:
                self._iterator = iter(items)
            except TypeError as exc:
                raise NotIterableError("Runner.map()", items) from exc
        self._total = len(items) if isinstance(items, Sized) else None
        self._options = options
        self._limit = options.limit
        self._group = group
        self._worker = worker
        self._batch: Batch[Any] = Batch(func, owner=group.owner, settle=self._settle)
        self._state = _State.NEW
        self._exit = ExitStack()
        self._scopes: dict[anyio.CancelScope, None] = {}
        # What was taken from the input, in its order; or what has an outcome, as it came.
        self._queue: deque[Item[Any]] = deque()
        self._taken = 0
        self._given = 0
        self._input_over = False
        self._input_error: Exception | None = None
        self._room: anyio.Event | None = None
        self._asking = False
        self._failures: list[tuple[BaseException, Item[Any] | None]] = []
        self._has_failed = False
        self._reading = anyio.Lock(fast_acquire=True)
        self._wakers: list[anyio.Event] = []
        self._awaited: Item[Any] | None = None
        self._ended = anyio.Event()
        self._turn = 0.0
        self._is_stuck = False

    def __repr__(self) -> str:
        return f"<map of {self._batch.function} by {self._group.owner!r}>"

    @property
    def total(self) -> int | None:
        """How many items there are; None if the input has no length."""
        return self._total

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
        if self._state is not _State.NEW:
            raise WrongStateError(self, self._state.value, "call Runner.map() again")
        self._group.check_entered()
        self._state = _State.ENTERED
        self._exit.enter_context(self._group.held())
        self._exit.enter_context(self._group.token.on_stop(self._on_stop))
        if self._async_iterator is not None:
            self._start(self._feed, self._async_iterator)
        if self._options.timeout is not None:
            self._start(self._watch, self._options.timeout)
        try:
            self._refill(time.monotonic())
        except BaseException:
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
        self._state = _State.LEFT
        try:
            batch.close("its map was left")
            batch.drop_pending()
            for item in list(batch.busy):
                batch.abandon(item)
            for _ in batch.servers:
                batch.pending.put(None)  # wakes one that idles
            if batch.stuck and not isinstance(exc, anyio.get_cancelled_exc_class()):
                with anyio.move_on_after(self._group.grace):
                    await self._wait_for_ends()  # noqa: ASYNC102 - to be cancelled is fine
                batch.given_up = True
        finally:
            self._close()
            del exc, traceback

    async def _wait_for_ends(self) -> None:
        while any(item.heeds() for item in list(self._batch.stuck)):
            self._ended = anyio.Event()
            await self._ended.wait()

    def _close(self) -> None:
        self._state = _State.LEFT
        for scope in list(self._scopes):
            scope.cancel()
        self._exit.close()
        self._wake()
        for error, _ in self._failures:
            log_late(self._batch.function, error, cancellations())

    def _start(self, func: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self._group.spawn(self._run_scoped(func, args), f"{func.__name__} of {self!r}")

    async def _run_scoped(
        self, func: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]
    ) -> None:
        with anyio.CancelScope() as scope:
            self._scopes[scope] = None
            try:
                if self._state is _State.ENTERED:
                    await func(*args)
            finally:
                del self._scopes[scope]
                self._ended.set()

    def _on_stop(self) -> None:
        self._batch.close(self._group.token.reason)
        self._wake()

    #
    # Reading
    #

    def __aiter__(self) -> Self:
        self._check_entered()
        return self

    async def __anext__(self) -> T_co:
        now = time.monotonic()
        self._refill(now)
        queue = self._queue
        if now >= self._turn or self._batch.closed or not (queue and queue[0].settled):
            await self._until_ready()
        self._given += 1
        item = queue.popleft()
        if item.error is None:
            return item.result  # type: ignore[no-any-return]
        error, item.error = item.error, None
        error.add_note(_note(item))
        return error  # type: ignore[return-value] # which `Runner.map` declares

    def _check_entered(self) -> None:
        if self._state is not _State.ENTERED:
            cure = "use it as `async with runner.map(...) as results:`"
            raise WrongStateError(self, self._state.value, cure)

    async def _until_ready(self) -> None:
        async with self._reading:
            if self._is_ready():
                await anyio.lowlevel.checkpoint()
            while True:
                self._check_entered()
                if self._batch.closed:
                    await self._raise_why()
                now = time.monotonic()
                self._turn = now + TURN
                self._refill(now)
                if self._is_ready():
                    return
                if self._is_over():
                    self._raise_end()
                if self._iterator is not None and self._has_room():
                    await anyio.lowlevel.checkpoint()  # to take from the input needs longer
                else:
                    await self._wait()

    def _is_ready(self) -> bool:
        return bool(self._queue) and self._queue[0].settled

    def _is_over(self) -> bool:
        return self._input_over and self._given == self._taken

    async def _wait(self) -> None:
        waker = anyio.Event()
        self._awaited = self._queue[0] if self._queue else None
        self._wakers.append(waker)
        try:
            if not (self._is_ready() or self._batch.closed or self._is_over()):
                await waker.wait()
        finally:
            if waker in self._wakers:
                self._wakers.remove(waker)

    def _wake(self) -> None:
        try:
            waker = self._wakers.pop()
        except IndexError:  # nobody waits, or is being woken
            return
        self._group.post(waker.set)

    def _settle(self, item: Item[Any]) -> None:
        """Take the outcome of an item, in any thread."""
        error = item.error
        if error is None or (self._options.keep_errors and isinstance(error, Exception)):
            item.settled = True
            if not self._options.ordered:
                self._queue.append(item)
            elif item is not self._awaited:
                return
        else:
            self._fail(error, item)
        if self._wakers:
            self._wake()

    def _fail(self, error: BaseException, item: Item[Any] | None) -> None:
        self._failures.append((error, item))
        self._batch.close("another item failed")

    async def _raise_why(self) -> NoReturn:
        """Raise what has ended the map before its time."""
        if self._group.token.is_set():
            await self._group.raise_stopped()
        if self._has_failed:
            raise StopAsyncIteration
        self._has_failed = True
        error, item = self._failures.pop(0)
        if item is not None:
            error.add_note(_note(item))
            item.error = None
        try:
            raise _raisable(error)
        finally:
            del error

    def _raise_end(self) -> NoReturn:
        error, self._input_error = self._input_error, None
        if error is None:
            raise StopAsyncIteration
        try:
            raise _raisable(error)
        finally:
            del error

    #
    # The input
    #

    def _has_room(self) -> bool:
        return self._taken - self._given < self._options.buffer

    def _refill(self, now: float) -> None:
        """Take from the input what there is room for, but not for long; never from an async one."""
        if self._batch.closed:
            return
        if (iterator := self._iterator) is not None:
            until = now + TURN
            while self._has_room():
                try:
                    arg = next(iterator)
                except Exception as exc:  # noqa: BLE001 - it is raised when the rest is done
                    self._end_input(exc)
                    break
                self._put(arg)
                if time.monotonic() >= until:
                    break
        elif self._room is not None and self._has_room():
            self._room.set()
        self._staff()

    async def _feed(self, items: AsyncIterator[Any]) -> None:
        """Take from an async input what there is room for."""
        while True:
            while not self._has_room():
                self._room = anyio.Event()
                await self._room.wait()
                self._room = None
            try:
                arg = await anext(items)
            except Exception as exc:  # noqa: BLE001 - it is raised when the rest is done
                self._end_input(exc)
                return
            self._put(arg)
            self._staff()

    def _put(self, arg: object) -> None:
        item = Item(self._batch, self._taken, (arg,))
        self._taken += 1
        if self._options.ordered:
            if not self._queue:
                self._awaited = item
            self._queue.append(item)
        self._batch.pending.put(item)

    def _end_input(self, error: Exception) -> None:
        expected = StopIteration if self._iterator is not None else StopAsyncIteration
        if not isinstance(error, expected):
            self._input_error = error
        self._iterator = None
        self._input_over = True
        self._wake()

    #
    # The workers
    #

    def _staff(self) -> None:
        """Ask for one more slot if there is work for it; the next one when this one is there."""
        batch = self._batch
        if (
            len(batch.servers) < self._limit
            and not self._asking
            and batch.pending.qsize() > batch.idle()
            and not batch.closed
        ):
            self._asking = True
            self._warn_if_stuck()
            self._start(self._serve)

    async def _serve(self) -> None:
        admitted = False

        def admit() -> None:
            nonlocal admitted
            admitted = True
            self._asking = False
            self._staff()

        try:
            await self._worker.serve(self._batch, admit)
        except Exception as exc:  # noqa: BLE001 - the reader gets it
            if isinstance(exc, RuntimeError) and self._batch.servers:
                self._limit = len(self._batch.servers)  # there are no more threads to be had
            else:
                self._fail(exc, None)
                self._wake()
        finally:
            if not admitted:
                self._asking = False
            self._staff()

    async def _watch(self, timeout: float) -> None:  # noqa: ASYNC109 - it is each item's
        """See to it that items which take too long have an outcome."""
        batch = self._batch
        while True:
            now = time.monotonic()
            for item in list(batch.busy):
                if item.started + timeout <= now and batch.expire(item, _too_long(timeout)):
                    item.error = TimedOutError(batch.function, timeout)
                    self._settle(item)
            self._warn_if_stuck()
            oldest = min((item.started for item in list(batch.busy)), default=now)
            await anyio.sleep(max(oldest + timeout - now, TURN))

    def _warn_if_stuck(self) -> None:
        """Log it when nothing can go on before a call ends that was asked to stop (rule 7)."""
        batch = self._batch
        was_stuck, self._is_stuck = self._is_stuck, False
        if batch.pending.empty() or len(batch.servers) > len(batch.stuck):
            return
        if len(batch.stuck) < self._limit:
            calls = self._group.running()
            stopping = sum(call.source.token._set for call in calls)  # noqa: SLF001 - no look
            if stopping < self._worker.capacity:
                return
        self._is_stuck = True
        if not was_stuck:
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").warning(
                "%r waits: every slot is held by a call that was asked to stop and has not ended",
                self,
            )


def _note(item: Item[Any]) -> str:
    from reprlib import Repr  # noqa: PLC0415 - rarely needed

    short = Repr()
    short.maxstring = short.maxother = 60
    return f"item {item.index} of the map: {short.repr(item.args[0])}"


def _raisable(error: BaseException) -> BaseException:
    """Wrap what would end an ``async for`` silently."""
    if not isinstance(error, (StopIteration, StopAsyncIteration)):
        return error
    wrapped = RuntimeError(f"{type(error).__name__} was raised where it has no meaning")
    wrapped.__cause__ = error
    return wrapped


def _too_long(seconds: float) -> str:
    return f"it took longer than {seconds:g} s"
