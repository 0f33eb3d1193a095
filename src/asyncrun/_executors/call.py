"""One call of an `Executor`, and its future.

Rule of this module: to the outside a future behaves as that of `concurrent.futures`; in addition
`Future.cancel` asks a call that runs to stop.
"""

from __future__ import annotations

import threading
import time
from concurrent import futures
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from .._core.current import current_token, token_by_thread
from .._core.events import note_end, note_start, observers
from .._core.registry import user_code_entry
from .._core.report import function_name
from .._core.stop import StopFlag, StopToken
from .pool.work_item import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.registry import RunningCall
    from .pool.threads import Pool

T = TypeVar("T")


@final
class Future(futures.Future[T]):
    """The future of a call of an `Executor`."""

    _pool: Pool
    _token: StopToken | None = None  # only while the call runs: most are never asked to stop

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; if it runs, ask it to stop.

        Returns:
            Whether it is cancelled, and never begins. A call that runs cannot be cancelled, but
            its stop token is set; what it then returns or raises, `Stopped` mostly, is its
            outcome.
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


@final
class FutureCall(WorkItem, Generic[T]):
    """A call, and the future that its outcome goes to.

    Args:
        pool: Where it runs.
        func: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Attributes:
        token: Its stop flag; there is none before it begins.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
    """

    __slots__ = (
        "_args",
        "_context",
        "_func",
        "_kwargs",
        "_pool",
        "future",
        "started",
        "thread",
        "token",
    )

    token: StopToken
    started: float
    thread: int

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

    @user_code_entry
    def run(self) -> None:
        """See `WorkItem.run`."""
        future, context, pool = self.future, self._context, self._pool
        if pool.waiting.pop(future, None) is None:
            return  # it was cancelled
        self.token = future._token = token = StopFlag()
        if not future.set_running_or_notify_cancel():
            return  # it is just being cancelled
        if pool.stopped:  # its stop may have found no token
            self.stop(pool.reason)
        ident = self.thread = threading.get_ident()
        self.started = time.monotonic()
        if observers:
            note_start(self)
        token_by_thread[ident] = self
        context.run(current_token.set, token)
        try:
            try:
                result = context.run(self._func, *self._args, **self._kwargs)
            finally:
                del token_by_thread[ident]  # the future's callbacks are not inside of the call
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the call's outcome
            future._token = None
            if observers:
                note_end(self, exc)
            future.set_exception(exc)
            del self, future  # the traceback of the error holds this frame
        else:
            future._token = None
            if observers:
                note_end(self, None)
            future.set_result(result)

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
        return [self] if self.future.running() else []

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
