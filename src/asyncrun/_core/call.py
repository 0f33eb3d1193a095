"""The lease of a slot of a worker, and one call.

Rules of this module (rules 7 and 8):

- Worker and waiter of a call meet at two points. One atomic claim decides each, so that a
  cancellation may come at any moment:

  ======= ===================== ================================ =============
  started finished first by     state                            slot freed by
  ======= ===================== ================================ =============
  no      the waiter            dropped, and never runs          the waiter
  yes     the worker            done                             the waiter
  yes     the waiter            abandoned, and asked to stop     the worker
  ======= ===================== ================================ =============
- Where calls run is the business of a `Worker`.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from .current import current_token
from .events import note_end, note_start, observers
from .registry import running_calls, user_code_entry
from .report import function_name, log_unobserved_error
from .stop import StopFlag, StopToken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .registry import RunningCall

T = TypeVar("T")


class SlotLease(ABC, Generic[T]):
    """The time that a worker's slot is taken; a worker's side and a waiter's side claim its ends.

    The worker calls `try_start` first and `worker_done` last; the waiter calls `waiter_done` when
    it stops waiting, with the result or without. Of `worker_done` and `waiter_done`, the one that
    comes second finds the lease over, and must give the slot back.
    """

    __slots__ = ("_finished", "_started")

    def __init__(self) -> None:
        self._started: threading.Lock = threading.Lock()
        self._finished: threading.Lock = threading.Lock()

    def siblings(self) -> Sequence[SlotLease[Any]] | None:
        """Return the leases that serve the same batch as this one, if it is not for one call."""
        return None

    def active_siblings(self) -> int | None:
        """Return how many of those are not stuck."""
        return None

    def subject(self) -> Call[Any] | None:
        """Return the call that this is for, if it is for one."""
        return None

    @abstractmethod
    def stopping(self) -> Sequence[RunningCall]:
        """Return the calls that keep the slot though they were asked to stop."""
        ...

    def try_start(self) -> bool:
        """Return whether the worker is to run at all; it is not if the waiter has left."""
        return self._started.acquire(blocking=False)

    @abstractmethod
    def run(self) -> T:
        """Do what the slot was taken for, in the worker, and give the result."""
        ...

    def worker_done(
        self,
        error: BaseException | None = None,  # noqa: ARG002 - of interest to a call
        *,
        silent_late_errors: tuple[type[BaseException], ...] = (),  # noqa: ARG002
    ) -> bool:
        """Note that the worker is done.

        Args:
            error: What `run` raised, if anything.
            silent_late_errors: What it may raise when it is abandoned, apart from `Stopped`.

        Returns:
            Whether the waiter has left before.
        """
        return not self._finished.acquire(blocking=False)

    def waiter_done(self, error: BaseException | None = None) -> bool:  # noqa: ARG002
        """Note that the waiter is done.

        Args:
            error: What it got in place of a result, if anything.

        Returns:
            Whether the lease is over. If not, the worker is abandoned.
        """
        return self._started.acquire(blocking=False) or not self._finished.acquire(blocking=False)


@final
class Call(SlotLease[T]):
    """One blocking call.

    Args:
        func: The function to call.
        args: Its positional arguments.
        name: Its name in reports; by default the function's.
        owner: The runner that the call belongs to, if any.
        parent_token: A token that sets the call's own one.

    Attributes:
        location: What it runs in outside of this process; `STARTING` before that is there.
        on_begin: What is to be called, in whatever thread, when it begins to run; or None.
        expired: Why nobody waits for it any longer, if it has run for too long.
        is_answered: Whether its outcome has come from where it ran, and will not be too late.
    """

    __slots__ = (
        "_name",
        "args",
        "error",
        "expired",
        "func",
        "is_answered",
        "location",
        "on_begin",
        "owner",
        "started",
        "thread",
        "token",
    )

    location: str | None
    on_begin: Callable[[], None] | None
    expired: str | None
    is_answered: bool

    def __init__(
        self,
        func: Callable[..., T],
        args: tuple[object, ...],
        *,
        name: str | None = None,
        owner: object = None,
        parent_token: StopToken | None = None,
    ) -> None:
        self.func: Callable[..., T] = func
        self.args: tuple[object, ...] = args
        self._name = name
        self.owner: object = owner
        self.token: StopToken = StopFlag()
        if parent_token is not None:
            parent_token._link(self.token)
        self.started: float = 0.0
        self.thread: int = 0
        self.location = None
        self.error: BaseException | None = None
        self.on_begin = None
        self.expired = None
        self.is_answered = False
        super().__init__()

    @property
    def function(self) -> str:
        """See `RunningCall.function`."""
        return function_name(self.func)

    @property
    def name(self) -> str:
        """See `RunningCall.name`."""
        return self.function if self._name is None else self._name

    def subject(self) -> Call[Any]:
        """See `SlotLease.subject`."""
        return self

    def stopping(self) -> Sequence[RunningCall]:
        """See `SlotLease.stopping`."""
        return (self,) if self.token._set and self in running_calls else ()

    def try_start(self) -> bool:
        """See `SlotLease.try_start`."""
        if not self._started.acquire(blocking=False):
            return False
        self.thread = threading.get_ident()
        self.started = time.monotonic()
        running_calls[self] = None
        if observers:
            note_start(self)
        if self.on_begin is not None and self.location is None:  # else it has yet to be sent
            self.on_begin()
        return True

    @user_code_entry
    def run(self) -> T:
        """See `SlotLease.run`."""
        current_token.set(self.token)
        return self.func(*self.args)

    def worker_done(
        self,
        error: BaseException | None = None,
        *,
        silent_late_errors: tuple[type[BaseException], ...] = (),
    ) -> bool:
        """See `SlotLease.worker_done`."""
        if observers and self.started:  # else a KeyboardInterrupt came before
            note_end(self, error)
        self.error = error
        if self._finished.acquire(blocking=False):
            running_calls.pop(self, None)  # unless `waiter_done` was faster
            return False
        try:
            self._log_unobserved_error(silent_late_errors)
        finally:
            del running_calls[self]
        return True

    def waiter_done(self, error: BaseException | None = None) -> bool:
        """See `SlotLease.waiter_done`; a call that is abandoned is asked to stop."""
        if self._started.acquire(blocking=False):
            return True
        if self.expired is not None or self._finished.acquire(blocking=False):
            self.token._stop(self.expired or "its caller was cancelled")
            return False
        running_calls.pop(
            self, None
        )  # `worker_done` is about to: what is over must not be reported
        seen = error is not None and self.error is error.__cause__  # asyncio wraps StopIteration
        if self.error is not error and not seen:
            # it ended just as its waiter was cancelled: nobody saw the error
            self._log_unobserved_error()
        self.error = None  # its traceback holds a frame that holds this call
        return True

    def expire(self, reason: str) -> bool:
        """Claim the end for the waiter, in the event loop's thread, before the worker does.

        Args:
            reason: Why.

        Returns:
            Whether that is so. If not, the worker is done, and the outcome is on its way.
        """
        if not self.is_answered and self._finished.acquire(blocking=False):
            self.expired = reason
        return self.expired is not None

    def revive(self) -> None:
        """Undo that, in the event loop's thread, as the outcome has come to the waiter."""
        if self.expired is not None:
            self.expired = None
            self._finished.release()

    def is_cooperative(self) -> bool:
        """Return whether the call is likely to end soon after it was asked to stop."""
        return self.token._is_cooperative()

    def _log_unobserved_error(
        self, silent_late_errors: tuple[type[BaseException], ...] = ()
    ) -> None:
        error, self.error = self.error, None
        if error is not None:
            log_unobserved_error(self.name, error, silent_late_errors)
