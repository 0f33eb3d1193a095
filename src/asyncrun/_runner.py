"""The Runner: a task group that can stop what it started.

Rules of this room (DESIGN.md, 9, 10 and 12):

- Everything runs in one AnyIO task group. When the runner fails, is cancelled or is stopped, the
  group is cancelled first and the tokens are set in the same breath, so that a task of the group
  ends by cancellation and never by a `Stopped` from its own call.
- Leaving waits, shielded and for at most ``grace`` seconds, for abandoned calls that are likely
  to notice; the others are reported and left behind.
- A KeyboardInterrupt comes out as itself.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, final

import anyio
import anyio.lowlevel

from ._calls import (
    Call,
    CallInfo,
    check_async,
    check_blocking,
    coroutine_of,
    function_name,
    log_left_behind,
    running,
    snapshot,
)
from ._errors import NoSuchWorkerError, OutOfRangeError, Stopped, WrongStateError, first_of
from ._stop import NEVER, StopSource, current
from ._threads import ThreadWorker, loop_poster

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Self, TypeVarTuple

    from anyio.abc import TaskGroup

    from ._calls import Worker

    ArgsT = TypeVarTuple("ArgsT")

T = TypeVar("T")

DEFAULT_THREADS: Final = 40
"""What AnyIO and Trio allow by default: threads that block on I/O cost memory, not cores."""

USE: Final = "use it as `async with Runner() as runner:`"


class _State(Enum):
    NEW = "is not entered yet"
    ENTERED = "is entered already"
    LEFT = "was left already"


@final
class Runner:
    """Runs blocking calls and async tasks in one task group, and can stop all of them.

    Use it as an async context manager, under asyncio or Trio::

        async with Runner(max_threads=8) as runner:
            page = await runner.run_sync(fetch, url)

    Leaving the block waits for all that was started. If the block or one of its tasks fails, is
    cancelled, or `stop` is called, every task is cancelled and every call asked to stop; then the
    runner waits up to ``grace`` seconds for those calls that have met a `safe_point` before (or
    looked at their token, or are inside an `StopToken.on_stop` block), and leaves. Calls still
    running then are logged (logger ``asyncrun``, WARNING) and left behind in daemon threads.

    Errors come as AnyIO's task groups give them: in an exception group. A KeyboardInterrupt comes
    out as itself, with other errors as its cause.

    Args:
        max_threads: How many calls may run in threads at once, at least 1; None means 40, as in
            AnyIO and Trio. A call holds its slot until its thread has really ended, so abandoned
            calls cannot pile up. The runner does not use AnyIO's default limiter.
        grace: Seconds, at least 0, to wait for calls that were asked to stop.
        name: Its name in messages and logs.

    Raises:
        OutOfRangeError: ``max_threads`` or ``grace`` is out of its range (a `ValueError`).
    """

    def __init__(
        self, *, max_threads: int | None = None, grace: float = 2.0, name: str | None = None
    ) -> None:
        if max_threads is not None and not (max_threads >= 1 and max_threads % 1 == 0):
            raise OutOfRangeError("max_threads", "a whole number >= 1 or None", max_threads)
        if not grace >= 0:
            raise OutOfRangeError("grace", ">= 0 seconds", grace)
        self._max_threads = DEFAULT_THREADS if max_threads is None else max_threads
        self._grace = grace
        self._name = name
        self._state = _State.NEW
        self._source = StopSource()
        self._waits: dict[Call[Any], anyio.CancelScope] = {}
        self._tasks = 0
        self._own: set[int] = set()

    def __repr__(self) -> str:
        return "<Runner>" if self._name is None else f"<Runner {self._name!r}>"

    async def __aenter__(self) -> Self:
        if self._state is not _State.NEW:
            cure = "a runner can be entered once, make a new one"
            raise WrongStateError(self, self._state.value, cure)
        self._post = loop_poster()
        self._changed = anyio.Event()
        threads = ThreadWorker(anyio.CapacityLimiter(self._max_threads), ended=self._notify)
        self._workers: dict[str, Worker] = {"thread": threads}
        self._group: TaskGroup = anyio.create_task_group()
        await self._group.__aenter__()
        self._own.add(anyio.get_current_task().id)
        self._thread = threading.get_ident()
        self._state = _State.ENTERED
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return await self._leave(exc, traceback)  # noqa: ASYNC102 - if nothing is wrong
        finally:
            self._state = _State.LEFT
            try:
                with anyio.move_on_after(self._grace, shield=True):
                    await self._wait_while(self._is_ending)
            finally:
                log_left_behind(self, self._running())
                del exc, traceback

    async def run_sync(
        self,
        func: Callable[[*ArgsT], T],
        *args: *ArgsT,
        worker: Literal["thread"] = "thread",
    ) -> T:
        """Run one blocking call and return its result; from any task of this event loop.

        It is the module's `run_sync` with a slot of this runner and stopped with this runner.

        On cancel: the await ends at once; the thread runs on, and its `stop_token` is set. A
        result that it still returns is dropped; an exception other than `Stopped` is logged.

        Args:
            func: A plain function; for keyword arguments use `functools.partial`.
            *args: Its positional arguments.
            worker: Where to run it.

        Returns:
            What ``func`` returns.

        Raises:
            Stopped: The runner stopped, and the waiting task is not one of the runner's own,
                which are cancelled instead.
            WrongFunctionError: ``func`` is not a plain function (a `TypeError`).
            WrongStateError: The runner is not entered, or was left (a `RuntimeError`).
            NoSuchWorkerError: There is no such worker (a `ValueError`).
        """
        call, place = self._call("Runner.run_sync()", func, args, worker, None)
        return await self._wait_for(call, place)

    def submit(
        self,
        func: Callable[[*ArgsT], T],
        *args: *ArgsT,
        worker: Literal["thread"] = "thread",
        name: str | None = None,
    ) -> anyio.TaskHandle[T]:
        """Start one blocking call as a task of this runner.

        Args:
            func: A plain function; for keyword arguments use `functools.partial`.
            *args: Its positional arguments.
            worker: Where to run it.
            name: Its name in reports; by default the function's.

        Returns:
            AnyIO's handle: await it for the result, `~anyio.TaskHandle.cancel` it to abandon the
            call and ask it to stop. An error of the call ends the runner, as in a task group.

        Raises:
            WrongFunctionError: ``func`` is not a plain function (a `TypeError`).
            WrongStateError: The runner is not entered, or was left, or this is another thread
                than its event loop's (a `RuntimeError`).
            NoSuchWorkerError: There is no such worker (a `ValueError`).
        """
        call, place = self._call("Runner.submit()", func, args, worker, name)
        # Without a scope of its own: its task is the group's, and so cancelled with it.
        return self._spawn(place.run(call), call.name)

    def start_soon(
        self,
        async_func: Callable[[*ArgsT], Coroutine[Any, Any, T]],
        *args: *ArgsT,
        name: str | None = None,
    ) -> anyio.TaskHandle[T]:
        """Start an async task in this runner, as `anyio.abc.TaskGroup.start_soon` does.

        Args:
            async_func: An async function.
            *args: Its positional arguments.
            name: The task's name; by default the function's.

        Returns:
            AnyIO's handle of the task.

        Raises:
            WrongFunctionError: ``async_func`` gives no coroutine (a `TypeError`).
            WrongStateError: The runner is not entered, or was left (a `RuntimeError`).
        """
        self._check_entered()
        check_async("Runner.start_soon()", async_func)
        task: Coroutine[Any, Any, T] = coroutine_of("Runner.start_soon()", async_func, args)
        return self._spawn(task, function_name(async_func) if name is None else name)

    def stop(self, reason: str | None = None) -> None:
        """Stop everything: cancel every task, and ask every call to stop.

        It may be called from any thread. The runner's block is then left as a cancelled task
        group is left, without an error. Once the runner was left, this does nothing.

        Args:
            reason: Why, in a few words, for the message of `Stopped`.

        Raises:
            WrongStateError: The runner is not entered yet (a `RuntimeError`).
        """
        if self._state is _State.NEW:
            raise WrongStateError(self, self._state.value, USE)
        # Posted first, so that no `Stopped` of a call reaches its task before the cancellation.
        self._post(self._halt, reason)
        self._source.stop(reason)

    def calls(self) -> list[CallInfo]:
        """Say which calls are running now, the oldest first; also those left behind."""
        return snapshot(self._running())

    def _check_entered(self) -> None:
        if self._state is _State.NEW:
            raise WrongStateError(self, self._state.value, USE)
        if self._state is _State.LEFT:
            raise WrongStateError(self, self._state.value, "make a new one")
        if self._thread != threading.get_ident():
            cure = "in a call, go through anyio.from_thread.run_sync(runner.submit, ...)"
            raise WrongStateError(self, "belongs to the thread of its event loop", cure)

    def _call(
        self,
        caller: str,
        func: Callable[[*ArgsT], T],
        args: tuple[*ArgsT],
        kind: str,
        name: str | None,
    ) -> tuple[Call[T], Worker]:
        self._check_entered()
        check_blocking(caller, func)
        if kind not in self._workers:
            raise NoSuchWorkerError(kind, tuple(self._workers))
        call = Call(func, args, name=name, owner=self, follow=self._source.token)
        return call, self._workers[kind]

    async def _wait_for(self, call: Call[T], worker: Worker) -> T:
        stopped = self._source.token.is_set()
        if stopped:
            self._group.cancel_scope.cancel()  # a stop in another thread may be on its way
        if anyio.get_current_task().id in self._own:
            return await worker.run(call)  # cancelled with the group, unless the task is shielded
        with anyio.CancelScope() as scope:
            self._waits[call] = scope
            if stopped:
                scope.cancel()
            try:
                return await worker.run(call)
            finally:
                del self._waits[call]
                self._left()
        # The runner stopped. A task below one of its own is being cancelled; others get to know.
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise Stopped(self._source.token.reason)

    def _spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> anyio.TaskHandle[T]:
        handle = self._group.create_task(self._guard(coroutine), name=name)
        self._tasks += 1
        return handle

    async def _guard(self, coroutine: Coroutine[Any, Any, T]) -> T:
        current.set(NEVER)  # a call that starts a task does not lend it its token
        task = anyio.get_current_task().id
        self._own.add(task)
        try:
            return await coroutine
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            await self._raise_cancellation(exc)  # noqa: ASYNC120 - that is what it is for
            self._halt(_why(exc))
            raise
        finally:
            self._own.remove(task)
            self._tasks -= 1
            self._left()

    async def _raise_cancellation(self, error: BaseException) -> None:
        # A shielded wait gets to see the `Stopped` of its call. Once the runner is stopping, the
        # task ends by the cancellation that the shield kept off.
        if isinstance(error, Stopped) and self._source.token.is_set():
            self._group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()

    def _halt(self, reason: str | None) -> None:
        self._group.cancel_scope.cancel()
        if self._waits:
            # A turn later those below the group's own tasks are gone, and do not cost twice.
            self._post(self._cancel_waits)
        self._source.stop(reason)

    def _cancel_waits(self) -> None:
        for scope in list(self._waits.values()):
            scope.cancel()

    def _running(self) -> list[Call[Any]]:
        return [call for call in list(running) if call.owner is self]

    def _left(self) -> None:
        if not self._is_busy():  # nobody waits for less than the last one
            self._changed.set()

    def _notify(self) -> None:
        self._changed.set()

    async def _wait_while(self, busy: Callable[[], bool]) -> None:
        while busy():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _leave(self, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        try:
            return await self._leave_group(exc, traceback)
        except BaseExceptionGroup as group:
            interrupts, rest = group.split(KeyboardInterrupt)
            if interrupts is None:
                raise
            interrupt = first_of(interrupts)
            del interrupts
        finally:
            del exc, traceback
        try:  # outside the handler: the group as its context would make a reference cycle
            raise interrupt from rest
        finally:
            del interrupt, rest

    async def _leave_group(
        self, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        error = exc
        # The group must be left whatever comes: a KeyboardInterrupt may, or a callback's error.
        try:
            if exc is None:
                # Inside the group, so that its cancellation, by whatever, is seen here at once.
                await self._wait_while(self._is_busy)
                self._state = _State.LEFT
            else:
                await self._raise_cancellation(exc)
        except BaseException as caught:  # noqa: ASYNC103, BLE001 - raised below
            error = caught
        try:
            if error is not None:
                self._halt(_why(error))
        except BaseException as caught:  # noqa: ASYNC103, BLE001 - raised below
            error = caught
        try:
            kind = None if error is None else type(error)
            swallowed = bool(await self._group.__aexit__(kind, error, traceback))
            if error is not None and error is not exc and not swallowed:
                raise error
            return swallowed
        finally:
            del exc, error, traceback

    def _is_busy(self) -> bool:
        return bool(self._tasks or self._waits)

    def _is_ending(self) -> bool:
        return bool(self._waits) or any(call.heeds() for call in self._running())


def _why(error: BaseException) -> str:
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return "its runner was cancelled"
    return f"its runner failed with {type(error).__name__}"
