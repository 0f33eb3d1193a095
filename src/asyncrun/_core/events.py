"""The start and the end of each call, for observers.

Rules of this module:

- Every call passes here, whatever runs it: a call of a runner or an executor, an item of a map, in
  a thread or elsewhere. Each `Observer.call_started` is followed by exactly one
  `Observer.call_ended` or `Observer.call_requeued`. An observer that comes meanwhile hears the end
  of calls whose start it has not heard.
- A call ends when the worker has really ended it; the reader of a map may have had a time-out, or
  have left, long before.
- Nothing is spent where nobody observes: callers look at `observers` before they call.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from .registry import RunningCall


class Observer(Protocol):
    """Hears of every call of this process, in the thread where it happens.

    What it raises is logged, and changes nothing for the call.
    """

    def call_started(self, call: RunningCall) -> None:
        """Note that a call begins to run, or is being sent."""
        ...

    def call_ended(self, call: RunningCall, error: BaseException | None) -> None:
        """Note that it has ended, and what it raised, if anything."""
        ...

    def call_requeued(self, call: RunningCall) -> None:
        """Note that its worker was gone before it could begin: it will be started once more."""
        ...


observers: Final[list[Observer]] = []


@contextmanager
def observing(observer: Observer) -> Generator[None]:
    """Notify an observer of all calls, in this block."""
    observers.append(observer)
    try:
        yield
    finally:
        observers.remove(observer)


def note_start(call: RunningCall) -> None:
    """Notify the observers: see `Observer.call_started`."""
    for observer in observers:
        _notify(observer, "call_started", call)


def note_end(call: RunningCall, error: BaseException | None) -> None:
    """Notify the observers: see `Observer.call_ended`."""
    for observer in observers:
        _notify(observer, "call_ended", call, error)


def note_requeued(call: RunningCall) -> None:
    """Notify the observers: see `Observer.call_requeued`."""
    for observer in observers:
        _notify(observer, "call_requeued", call)


def _notify(observer: Observer, event: str, *args: object) -> None:
    try:
        getattr(observer, event)(*args)
    except Exception:
        import logging  # noqa: PLC0415 - 10 ms, and rarely needed

        logging.getLogger("asyncrun").exception("an observer of calls failed")
