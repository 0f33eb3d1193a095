"""One call with a limit to the time that it may run.

Rules of this module:

- The clock starts when the call begins to run, in its thread or its process.
- A time-out and the end of the call meet at the claim of `SlotLease.worker_done`: whichever takes
  it first is what the waiter gets. So a result that came in time is never lost to a loop that was
  busy.
- The scope here is cancelled by the clock alone. What cancels the waiter from outside leases that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

import anyio

from .._core.errors import CallTimeoutError
from .._system.eventloop import later_caller, threadsafe_caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.call import Call

T = TypeVar("T")

MOMENT: Final = 0.05
"""Seconds that the clock waits if the event loop was busy when the time was over: an outcome may
have come meanwhile that it has yet to see, and a thread to unpickle."""


async def run_within(run: Callable[[Call[T]], Awaitable[T]], call: Call[T], seconds: float) -> T:
    """Run a call, and wait no longer when it has run for too long.

    On cancel: as `Worker.run`.

    Args:
        run: A worker's `Worker.run`.
        call: The call.
        seconds: How long it may run.

    Returns:
        The call's result.

    Raises:
        CallTimeoutError: It has run longer; it is asked to stop.
    """
    with anyio.CancelScope() as scope:
        clock = _Clock(call, seconds, scope)
        try:
            return await run(call)
        finally:
            clock.close()
    raise CallTimeoutError(call.name, seconds)


@final
class _Clock:
    """Ends the wait for a call that runs too long."""

    def __init__(self, call: Call[Any], seconds: float, scope: anyio.CancelScope) -> None:
        self._call = call
        self._seconds = seconds
        self._call_later = later_caller()
        self._scope = scope
        self._post = threadsafe_caller()
        self._begun = 0.0
        self._is_closed = False
        self._is_late = False
        self._revoke: Callable[[], object] = _do_nothing
        call.on_begin = self._begin

    def close(self) -> None:
        """Stop the clock."""
        self._is_closed = True
        self._revoke()

    def _begin(self) -> None:
        """Start the clock, from any thread; once more if the call has to begin once more."""
        self._begun = time.monotonic()
        self._post(self._set)

    def _set(self) -> None:
        self._revoke()
        if not self._is_closed:
            self._revoke = self._call_later(-self._seconds_late(), self._ring)

    def _ring(self) -> None:
        late = self._seconds_late()
        if late < 0:  # uvloop's timers count whole milliseconds, and so ring up to one too early
            self._revoke = self._call_later(-late, self._ring)
        elif late > MOMENT and not self._is_late:
            self._is_late = True
            self._revoke = self._call_later(MOMENT, self._ring)
        elif self._call.expire(f"it took longer than {self._seconds:g} s"):
            self._scope.cancel()

    def _seconds_late(self) -> float:
        """Return the seconds since the call's time was over; below 0 as long as it is not."""
        return time.monotonic() - self._begun - self._seconds


def _do_nothing() -> None:
    pass
