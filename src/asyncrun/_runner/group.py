"""A task group whose tasks and calls end together: what a `Runner` is made of.

Rules of this module (rules 9, 10 and 12):

- Everything runs in one AnyIO task group. When it fails, is cancelled or is stopped, it is
  cancelled first and the tokens are set in the same breath, so that a task of the group ends by
  cancellation and never by a `Stopped` from its own call.
- Leaving waits, shielded and for at most ``grace`` seconds, for abandoned calls that are likely
  to notice; the others are reported and left behind.
- A KeyboardInterrupt comes out as itself.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, final

import anyio
import anyio.lowlevel

from .._core.current import DETACHED, current_token
from .._core.errors import Stopped, WrongStateError, first_leaf
from .._core.registry import all_running, location_of
from .._core.report import log_left_behind
from .._core.stop import StopSource, StopToken
from .._system.eventloop import threadsafe_caller
from .._system.wakeup import waking_the_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from anyio.abc import TaskGroup

    from .._core.call import Call
    from .._core.registry import RunningCall

T = TypeVar("T")

LAST_STEPS: Final = 1.0
"""Seconds for a thread between the end of its worker and the end of its call."""

USAGE: Final = "use it as `async with Runner() as runner:`"


WAYS_BACK: Final = {
    "Runner.run_sync()": "anyio.from_thread.run(runner.run_sync, ..., token=token)",
    "Runner.submit()": "anyio.from_thread.run_sync(runner.submit, ..., token=token)",
    "Runner.start_soon()": "anyio.from_thread.run_sync(runner.start_soon, ..., token=token)",
    "Runner.map()": "anyio.from_thread.run(func, token=token), let the async func use the map",
}
"""How another thread comes to the event loop, for each method."""

WHERE: Final = (
    "where token = anyio.lowlevel.current_token() was taken in the event loop; "
    "in a call, token can be left out"
)


class State(Enum):
    """Where something is that can be entered once, in the words of its errors."""

    NEW = "is not entered yet"
    ENTERED = "is entered already"
    EXITED = "was left already"


@final
class Group:
    """The tasks of one runner, and the waits of other tasks for its calls.

    Args:
        owner: Whose it is: the owner of its calls, and the name in its messages.
        grace: Seconds to wait for calls that were asked to stop.
        drain_timeout: Seconds that a normal end waits for tasks and calls, or None.
        on_close: What is to be awaited at the very end, after them.

    Attributes:
        token: The token that is set when the group stops.
    """

    token: StopToken

    def __init__(
        self,
        owner: object,
        *,
        grace: float,
        drain_timeout: float | None,
        on_close: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.owner: object = owner
        self.grace: float = grace
        self._drain_timeout = drain_timeout
        self._on_close = on_close
        self._state = State.NEW
        self._source = StopSource()
        self.token = self._source.token
        self._outside_waits: dict[Call[Any], anyio.CancelScope] = {}
        self._tasks = 0
        self._task_ids: set[int] = set()

    async def open(self) -> None:
        """Open the group in this task.

        On cancel: it is not opened.

        Raises:
            WrongStateError: It was entered before (a `RuntimeError`).
        """
        if self._state is not State.NEW:
            hint = "a runner can be entered once, make a new one"
            raise WrongStateError(self.owner, self._state.value, hint)
        self.call_soon_threadsafe: Callable[..., None] = threadsafe_caller()
        self._changed = anyio.Event()
        self._task_group: TaskGroup = anyio.create_task_group()
        await self._task_group.__aenter__()
        self._task_ids.add(anyio.get_current_task().id)
        self._thread = threading.get_ident()
        self._wakeup = waking_the_loop()
        self._wakeup.__enter__()
        self._state = State.ENTERED

    async def close(self, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        """Wait for everything, or for its end by force; then for calls that are likely to end.

        On cancel: the group ends by force.

        Args:
            exc: What its block raised, if anything.
            traceback: From where.

        Returns:
            Whether that error is to be swallowed: it was the group's own cancellation.
        """
        try:
            return await self._close(exc, traceback)  # noqa: ASYNC102 - if nothing is wrong
        finally:
            self._state = State.EXITED
            try:
                with anyio.move_on_after(self.grace, shield=True):
                    await self._wait_while(self._is_ending)
                await self._on_close()  # noqa: ASYNC102 - shielded and bounded
                # Calls whose worker has ended are about to; their threads have yet to say so.
                with anyio.move_on_after(LAST_STEPS, shield=True):
                    await self._wait_while(self._has_remote_calls)
            finally:
                self._wakeup.__exit__(None, None, None)
                log_left_behind(self.owner, self.running_calls())
                del exc, traceback

    def check_entered(self, caller: str) -> None:
        """Refuse to start anything when or where that is not possible.

        Args:
            caller: The method that refuses.

        Raises:
            WrongStateError: It is not entered, or was left, or this is another thread than its
                event loop's (a `RuntimeError`).
        """
        if self._state is State.NEW:
            raise WrongStateError(self.owner, self._state.value, USAGE)
        if self._state is State.EXITED:
            raise WrongStateError(self.owner, self._state.value, "make a new one")
        if self._thread != threading.get_ident():
            hint = f"go through {WAYS_BACK[caller]}, {WHERE}"
            raise WrongStateError(self.owner, "belongs to the thread of its event loop", hint)

    def stop(self, reason: str | None) -> None:
        """Cancel every task and set the token; from any thread.

        Args:
            reason: Why.

        Raises:
            WrongStateError: It is not entered yet (a `RuntimeError`).
        """
        if self._state is State.NEW:
            raise WrongStateError(self.owner, self._state.value, USAGE)
        # Posted first, so that no `Stopped` of a call reaches its task before the cancellation.
        self.call_soon_threadsafe(self.cancel, reason)
        self._source.stop(reason)

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> anyio.TaskHandle[T]:
        """Start a task; an error of it stops the group."""
        handle = self._task_group.create_task(self._run_task(coroutine), name=name)
        self._tasks += 1
        return handle

    async def run_call(self, call: Call[T], run: Callable[[Call[T]], Coroutine[Any, Any, T]]) -> T:
        """Run a call for a task of this event loop, which may be one of the group's or not.

        On cancel: as `Worker.run`.

        Args:
            call: The call.
            run: What runs it: `Worker.run`, or something around that.

        Returns:
            The call's result.

        Raises:
            Stopped: The group stopped, and the task is not one of its own.
        """
        if stopped := self.token._set:
            self._task_group.cancel_scope.cancel()  # a stop in another thread may be on its way
        if anyio.get_current_task().id in self._task_ids:
            return await run(call)  # cancelled with the group, unless the task is shielded
        with anyio.CancelScope() as scope:
            self._outside_waits[call] = scope
            if stopped:
                scope.cancel()
            try:
                return await run(call)
            finally:
                del self._outside_waits[call]
                self._notify_if_empty()
        return await self.raise_stopped()

    async def raise_stopped(self) -> NoReturn:
        """Raise what a task gets when the group has stopped.

        On cancel: a task of the group, or below one, is being cancelled.

        Raises:
            Stopped: It is another task.
        """
        self._task_group.cancel_scope.cancel()  # a stop in another thread may be on its way
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise Stopped(self.token.reason)

    def running_calls(self) -> list[RunningCall]:
        """Return the calls that have started and not ended."""
        return [call for call in all_running() if call.owner is self.owner]

    def notify(self) -> None:
        """Note that a call has ended that nobody waited for."""
        self._changed.set()

    async def _run_task(self, coroutine: Coroutine[Any, Any, T]) -> T:
        current_token.set(DETACHED)  # a call that starts a task does not lend it its token
        task = anyio.get_current_task().id
        self._task_ids.add(task)
        try:
            return await coroutine
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            await self._prefer_cancellation(exc)  # noqa: ASYNC120 - that is what it is for
            self.cancel(stop_reason(exc))
            raise
        finally:
            self._task_ids.remove(task)
            self._tasks -= 1
            self._notify_if_empty()

    async def _prefer_cancellation(self, error: BaseException) -> None:
        # A shielded wait gets to see the `Stopped` of its call. Once the runner is stopping, the
        # task ends by the cancellation that the shield kept off.
        if isinstance(error, Stopped) and self.token.is_set():
            self._task_group.cancel_scope.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()

    def cancel(self, reason: str | None) -> None:
        """Cancel every task, and set the token; in the event loop's thread."""
        self._task_group.cancel_scope.cancel()
        if self._outside_waits:
            # A turn later those below the group's own tasks are gone, and do not cost twice.
            self.call_soon_threadsafe(self._cancel_waits)
        self._source.stop(reason)

    def _cancel_waits(self) -> None:
        for scope in list(self._outside_waits.values()):
            scope.cancel()

    def _notify_if_empty(self) -> None:
        if not self._is_busy():  # nobody waits for less than the last one
            self._changed.set()

    async def _wait_while(self, busy: Callable[[], bool]) -> None:
        while busy():
            self._changed = anyio.Event()
            await self._changed.wait()

    async def _close(self, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        try:
            return await self._exit_task_group(exc, traceback)
        except BaseExceptionGroup as group:
            interrupts, rest = group.split(KeyboardInterrupt)
            if interrupts is None:
                raise
            interrupt = first_leaf(interrupts)
            del interrupts
        finally:
            del exc, traceback
        try:  # outside the handler: the group as its context would make a reference cycle
            raise interrupt from rest
        finally:
            del interrupt, rest

    async def _exit_task_group(
        self, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        error = exc
        # The group must be left whatever comes: a KeyboardInterrupt may, or a callback's error.
        try:
            if exc is None:
                # Inside the group, so that its cancellation, by whatever, is seen here at once.
                await self._drain()
            else:
                await self._prefer_cancellation(exc)
        except BaseException as caught:  # noqa: ASYNC103, BLE001 - raised below
            error = caught
        try:
            if error is not None:
                self.cancel(stop_reason(error))
        except BaseException as caught:  # noqa: ASYNC103, BLE001 - raised below
            error = caught
        try:
            kind = None if error is None else type(error)
            swallowed = bool(await self._task_group.__aexit__(kind, error, traceback))
            if error is not None and error is not exc and not swallowed:
                raise error
            return swallowed
        finally:
            del exc, error, traceback

    async def _drain(self) -> None:
        with anyio.move_on_after(self._drain_timeout):
            await self._wait_while(self._is_busy)
        if self._is_busy():
            self.cancel(f"its runner has waited {self._drain_timeout:g} s for it to end")
        else:
            self._state = State.EXITED

    def _is_busy(self) -> bool:
        return bool(self._tasks or self._outside_waits)

    def _has_remote_calls(self) -> bool:
        return any(location_of(call) is not None for call in self.running_calls())

    def _is_ending(self) -> bool:
        return bool(self._outside_waits) or any(
            call.is_cooperative() for call in self.running_calls()
        )


def stop_reason(error: BaseException) -> str:
    """Return in a few words why a group ends."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return "its runner was cancelled"
    return f"its runner failed with {type(error).__name__}"
