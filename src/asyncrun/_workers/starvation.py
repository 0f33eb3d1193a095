"""Calls that wait for a slot while every slot is held by a call that was asked to stop.

Rules of this module:

- Such a wait is announced (rule 26): after some time, and when its caller gives up before.
- Where a slot is free nothing of this is reached. While calls wait, one timer looks for all.
- What is cancelled in one breath with those that hold the slots was not starved. So a wait is
  announced only if a look before its end, too, has found every slot held like that.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, final

from .._core.call import SlotLease
from .._core.registry import entry_point_reports
from .._core.report import MAX_REPORT_LINES, described
from .._system.eventloop import later_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import anyio

    from .._core.call import Call
    from .._core.registry import RunningCall

PATIENCE: Final = 1.0
"""Seconds that a call is starved before that is announced."""

LOOK: Final = 0.1
"""Seconds between two looks: the shortest timeouts that people set are not much longer."""

MOMENT: Final = 0.05
"""Seconds that every slot must have been held before a caller that gives up has been starved."""

STUCK: Final = "every slot is held by a call that was asked to stop and has not ended"


def holders(slots: anyio.CapacityLimiter) -> list[RunningCall]:
    """Return the calls that hold every slot and were asked to stop; none if any slot is not so."""
    statistics = slots.statistics()
    if statistics.borrowed_tokens < statistics.total_tokens:
        return []
    found: list[RunningCall] = []
    for borrower in statistics.borrowers:
        stopping = borrower.stopping() if isinstance(borrower, SlotLease) else ()
        if not stopping:
            return []
        found += stopping
    return found


def warn(waiter: object, what: str, calls: Sequence[RunningCall]) -> None:
    """Log that something waits for slots that are held by calls which were asked to stop.

    Args:
        waiter: What waits.
        what: What is to be said of it.
        calls: Those that hold the slots.
    """
    import logging  # noqa: PLC0415 - 10 ms, and rarely needed

    names = "; ".join(described(calls))
    logging.getLogger("asyncrun").warning("%s %s: %s: %s", waiter, what, STUCK, names)


@contextmanager
def watching(slots: anyio.CapacityLimiter, stay: SlotLease[Any]) -> Generator[None]:
    """Announce it if a call waits in vain, in this block, for a slot."""
    if (call := stay.subject()) is None:
        yield
        return
    if (watch := _watches.get(slots)) is None:
        watch = _watches[slots] = _Watch(slots)
    is_served = False
    try:
        watch.enter(call)
        yield
        is_served = True
    finally:
        watch.leave(call, is_served=is_served)
        if watch.is_over():
            del _watches[slots]


@final
class _Watch:
    """Looks, while calls wait for a slot of one limiter, whether any of them can get one."""

    def __init__(self, slots: anyio.CapacityLimiter) -> None:
        self._slots = slots
        self._call_later = later_caller()
        self._waiting: dict[Call[Any], float] = {}
        self._told: set[Call[Any]] = set()
        self._lines = 0
        self._since: float | None = None
        self._revoke: Callable[[], object]

    def enter(self, call: Call[Any]) -> None:
        """Note that a call begins to wait."""
        self._waiting[call] = time.monotonic()
        if len(self._waiting) == 1:
            self._look()

    def leave(self, call: Call[Any], *, is_served: bool) -> None:
        """Note that a call waits no longer."""
        begun = self._waiting.pop(call)
        if not self._waiting:
            self._revoke()
        is_told = call in self._told
        self._told.discard(call)
        # If the runner ends, so do its calls; if the program does, the last lines say enough.
        if is_served or is_told or call.token._set or entry_point_reports.get()():
            return
        if self._starved(begun) >= MOMENT and (held := holders(self._slots)):
            waited = time.monotonic() - begun
            self._say(call, f"never began, and was given up after {waited:.1f} s", held)

    def is_over(self) -> bool:
        """Return whether no call waits."""
        return not self._waiting

    def _starved(self, begun: float) -> float:
        """Return for how many seconds a call that waits has been starved, as far as was seen."""
        return 0.0 if self._since is None else time.monotonic() - max(self._since, begun)

    def _look(self) -> None:
        self._revoke = self._call_later(LOOK, self._look)
        if not (held := holders(self._slots)):
            self._since = None
            self._lines = 0
            return
        if self._since is None:
            self._since = time.monotonic()
        for call, begun in self._waiting.items():
            if call not in self._told and self._starved(begun) >= PATIENCE:
                self._told.add(call)
                self._say(call, "waits", held)

    def _say(self, call: Call[Any], what: str, held: Sequence[RunningCall]) -> None:
        """Log it, unless very many calls have the same to say."""
        self._lines += 1
        # A log handler that fails must neither cost a caller its cancellation nor Trio its run.
        with suppress(Exception):
            if self._lines <= MAX_REPORT_LINES:
                owner = "" if call.owner is None else f"{call.owner}: "
                warn(f"{owner}{call.name}", what, held)
            elif self._lines == MAX_REPORT_LINES + 1:
                warn("more calls", "wait in vain", held)


_watches: Final[dict[anyio.CapacityLimiter, _Watch]] = {}
