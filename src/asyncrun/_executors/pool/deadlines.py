"""The clock of calls with a time limit: one thread of the process, which ends none of them itself.

Rules of this module:

- A call that begins puts its deadline into a queue, without a lock: a signal may come at any
  moment. Only the clock's thread reads the queue, and only it sees the heap.
- A call that is over by its deadline is not kept alive, and costs a few bytes until then.
- What a call does at its deadline may take time (callbacks of its future): it gets a thread.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
import weakref
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple, Protocol


class Timed(Protocol):
    """A call with a time limit."""

    def is_over(self) -> bool:
        """Return whether it has ended."""
        ...

    def expire(self) -> None:
        """End the call, or ask it to end, unless it has just ended."""
        ...


class Deadline(NamedTuple):
    """When a call is to end.

    Attributes:
        due: By `time.monotonic`.
        number: Tells apart what is due at the same time.
        call: The call.
    """

    due: float
    number: int
    call: weakref.ref[Timed]


SPARE: Final = 1000
"""How many deadlines of calls that are over the heap may hold beside as many others."""

_inbox: SimpleQueue[Deadline] = SimpleQueue()
_clocks: Final[set[threading.Thread]] = set()


def ensure_clock() -> None:
    """Start the clock's thread, if there is none in this process.

    Raises:
        RuntimeError: The system gives no thread.
    """
    if not any(thread.is_alive() for thread in list(_clocks)):
        # Two callers may start one each: they share the work.
        thread = threading.Thread(target=_run, args=(_inbox,), name="asyncrun-clock", daemon=True)
        thread.start()
        _clocks.add(thread)


def set_deadline(call: Timed, seconds: float) -> None:
    """Set when a call is to end: after so many seconds."""
    _inbox.put(Deadline(time.monotonic() + seconds, id(call), weakref.ref(call)))


def _run(inbox: SimpleQueue[Deadline]) -> None:
    heap: list[Deadline] = []
    spare = SPARE
    while True:
        left = heap[0].due - time.monotonic() if heap else threading.TIMEOUT_MAX
        try:
            heapq.heappush(heap, inbox.get(timeout=min(max(left, 0), threading.TIMEOUT_MAX)))
        except Empty:
            _expire(heapq.heappop(heap))
        if len(heap) > spare:
            heap = [each for each in heap if (call := each.call()) and not call.is_over()]
            heapq.heapify(heap)
            spare = 2 * len(heap) + SPARE


def _expire(deadline: Deadline) -> None:
    call = deadline.call()
    if call is None or call.is_over():
        return
    try:
        threading.Thread(target=call.expire, daemon=True).start()
    except RuntimeError:  # the system gives no thread
        call.expire()


def _after_fork() -> None:
    global _inbox  # noqa: PLW0603 - the clock of the parent may have held its lock
    _clocks.clear()
    _inbox = SimpleQueue()


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing
