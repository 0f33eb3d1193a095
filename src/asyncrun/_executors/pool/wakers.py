"""Waits that any thread, or a signal handler, may ask to look again.

Rule of this module: the waiter: list the waker, then look, then wait. Whoever changes something:
change it, then read the list. No lock is held meanwhile, so a signal may come at any moment.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, final

from ..._core.batch import do_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_INTERVAL: Final = 1.0
"""Seconds after which a waiter looks again by itself: CPython sees a signal that comes just before
the thread sleeps in a lock only when the thread wakes up, and a Ctrl-C must not be lost."""


@final
class Wakers:
    """The threads that wait for the same thing."""

    __slots__ = ("_wakers",)

    def __init__(self) -> None:
        self._wakers: dict[threading.Lock, None] = {}

    def __bool__(self) -> bool:
        return bool(self._wakers)

    def wake(self) -> None:
        """Make the waiting threads look again; from any thread or handler."""
        for waker in list(self._wakers):
            with suppress(RuntimeError):  # another thread has woken it
                waker.release()

    def wait_while(
        self,
        busy: Callable[[], bool],
        deadline: float | None,
        check: Callable[[], object] = do_nothing,
    ) -> None:
        """Wait while something is so, at most until a deadline.

        Args:
            busy: Tells whether it is so.
            deadline: By `time.monotonic`; None means no limit.
            check: Ends the wait if it raises; it is called before each wait.
        """
        waker = threading.Lock()
        waker.acquire()
        self._wakers[waker] = None
        try:
            while busy():
                check()
                left = LOOK_INTERVAL if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return
                waker.acquire(timeout=min(left, LOOK_INTERVAL))
        finally:
            del self._wakers[waker]
