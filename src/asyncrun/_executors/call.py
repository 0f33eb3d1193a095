"""One call of an executor, and its future.

Rule of this module: to the outside a future behaves as that of `concurrent.futures`; in addition
`Future.cancel` asks a call that runs to stop, and a call may have a time limit.
"""

from __future__ import annotations

import threading
import time
from concurrent import futures
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from .._core.current import current_token, token_by_thread
from .._core.errors import CallTimeoutError
from .._core.events import note_end, note_start, observers
from .._core.registry import user_code_entry
from .._core.report import function_name, log_unobserved_error
from .._core.stop import StopFlag, StopToken
from .pool.deadlines import set_deadline
from .pool.work_item import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.registry import RunningCall
    from .pool.threads import Pool

T = TypeVar("T")


@final
class Future(futures.Future[T]):
    """The future of a call of an executor."""

    _pool: Pool
    _token: StopToken | None = None  # only while the call runs: most are never asked to stop

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; if it runs, ask it to stop.

        Returns:
            Whether it is cancelled, and never begins. A call that runs cannot be cancelled, but
            its stop token is set; what it then returns or raises, `Stopped` mostly, is its
            outcome. In a process it is `Stopped` also where the call did not listen, and the
            process was killed.
        """
        if cancelled := super().cancel():
            self._tell()
        elif (token := self._token) is not None:
            token._stop("its future was cancelled")
        self._pool.wake()
        return cancelled

    def _tell(self) -> None:
        """Notify the waiters that it is cancelled, unless a thread of the pool is about to."""
        if self._pool.waiting.pop(self, None) is not None:
            self.set_running_or_notify_cancel()


class FutureCall(WorkItem, Generic[T]):
    """A call in a thread, and the future that its outcome goes to.

    Args:
        pool: Where it runs.
        func: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Attributes:
        token: Its stop flag; there is none before it begins.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
        timeout: Seconds that it may run, or None.
    """

    __slots__ = (
        "__weakref__",
        "_args",
        "_context",
        "_func",
        "_kwargs",
        "_pool",
        "future",
        "started",
        "thread",
        "timeout",
        "token",
    )

    token: StopToken
    started: float
    thread: int
    timeout: float | None

    def __init__(
        self, pool: Pool, func: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._pool = pool
        self._func = func
        self._args = args
        self._kwargs = kwargs
        self._context = copy_context()
        self.future: Future[T] = Future()
        self.future._pool = pool
        self.timeout = None

    def run(self) -> None:
        """See `WorkItem.run`."""
        future, pool = self.future, self._pool
        if pool.waiting.pop(future, None) is None:
            return  # it was cancelled
        self.token = future._token = StopFlag()
        if not future.set_running_or_notify_cancel():
            return  # it is just being cancelled
        if pool.stopped:  # its stop may have found no token
            self.stop(pool.reason)
        ident = self.thread = threading.get_ident()
        self.started = time.monotonic()
        if observers:
            note_start(self)
        token_by_thread[ident] = self
        try:
            try:
                result = self._invoke()
            finally:
                del token_by_thread[ident]  # the future's callbacks are not inside of the call
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the call's outcome
            self._end(exc)
            try:
                future.set_exception(exc)
            except futures.InvalidStateError:  # it has expired
                log_unobserved_error(self.name, exc, ())
            del self, future  # the traceback of the error holds this frame
        else:
            self._end(None)
            with suppress(futures.InvalidStateError):  # it has expired
                future.set_result(result)

    @user_code_entry
    def _invoke(self) -> T:
        """Call the function."""
        self.begin()
        context, func, args, kwargs = self._context, self._func, self._args, self._kwargs
        context.run(current_token.set, self.token)
        del self  # the traceback of an error holds this frame
        return context.run(func, *args, **kwargs)

    def begin(self) -> None:
        """Start the clock, if there is a time limit."""
        if self.timeout is not None:
            set_deadline(self, self.timeout)

    def _end(self, error: BaseException | None) -> None:
        self.future._token = None
        if observers:
            note_end(self, error)

    def is_over(self) -> bool:
        """See `Timed.is_over`."""
        return self.future.done()

    def expire(self) -> None:
        """See `Timed.expire`: the call is abandoned, and asked to stop."""
        assert self.timeout is not None  # noqa: S101 - else there is no deadline
        with suppress(futures.InvalidStateError):  # it has just ended
            self.future.set_exception(CallTimeoutError(self.name, self.timeout))
            self.stop(f"it took longer than {self.timeout:g} s")

    def cancel_pending(self) -> None:
        """See `WorkItem.cancel_pending`."""
        if super(Future, self.future).cancel():  # without asking a call that runs to stop
            self.future._tell()

    def fail(self, error: Exception) -> None:
        """See `WorkItem.fail`."""
        waited = self._pool.waiting.pop(self.future, None) is not None
        if waited and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def stop(self, reason: str | None) -> None:
        """See `WorkItem.stop`."""
        token: StopToken | None = getattr(self, "token", None)
        if token is not None:
            token._stop(reason)
            self._pool.wake()

    def running_calls(self) -> list[RunningCall]:
        """See `WorkItem.running_calls`."""
        return [self] if token_by_thread.get(getattr(self, "thread", 0)) is self else []

    @property
    def name(self) -> str:
        """See `RunningCall.name`."""
        return function_name(self._func, *self._args)

    @property
    def function(self) -> str:
        """See `RunningCall.function`."""
        return function_name(self._func, *self._args)

    @property
    def owner(self) -> object:
        """See `RunningCall.owner`."""
        return self._pool

    def is_cooperative(self) -> bool:
        """See `RunningCall.is_cooperative`."""
        return self.token._is_cooperative()
