"""Signals that the program handles itself, as servers do: once it ends, no stuck call keeps it.

Rules of this module:

- The program's handler is called as ever, and is what `signal.getsignal` returns.
- A program that a signal has told to end, and that ends, has no use for the calls that ran then.
  One that has caught a KeyboardInterrupt may have: its calls are waited for.
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any, Final, final

from .._executors.at_exit import stop_begun_before
from .._system.process_exit import TERMINATION_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SIGNALS: Final = {*TERMINATION_SIGNALS, getattr(signal, "SIGQUIT", signal.SIGTERM)}
"""Signals by which a server is told to end."""

_moments: Final[list[float]] = []
"""When the last of them was handled by the program, by `time.monotonic`."""


@final
class Noting:
    """A handler of the program, which notes its signals.

    Args:
        handler: The program's.

    Attributes:
        handler: The same.
    """

    handler: Callable[[int, FrameType | None], Any]

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler

    def __call__(self, signum: int, frame: FrameType | None) -> object:
        """Note the signal, and handle it."""
        _moments[:] = [time.monotonic()]
        return self.handler(signum, frame)


def watch() -> None:
    """Note the signals that handlers get which the program sets from now on."""
    set_handler, get_handler = signal.signal, signal.getsignal

    def signal_(signalnum: Any, handler: Any) -> Any:
        if signalnum in SIGNALS and callable(handler) and not _is_default(handler):
            handler = Noting(handler)
        return _without_noting(set_handler(signalnum, handler))

    def getsignal(signalnum: Any) -> Any:
        return _without_noting(get_handler(signalnum))

    signal_.__name__ = signal_.__qualname__ = "signal"
    signal.signal, signal.getsignal = signal_, getsignal


def _is_default(handler: Any) -> bool:
    """Return whether a handler is Python's, or ours: also for the loops of asyncio and Trio."""
    function = getattr(handler, "func", handler)  # of a partial
    module: str | None = getattr(function, "__module__", None)
    return handler is signal.default_int_handler or str(module).startswith("asyncrun.")


def _without_noting(handler: Any) -> Any:
    return handler.handler if isinstance(handler, Noting) else handler


def stop_what_began_before() -> None:
    """Ask what ran when the program was last told to end to stop; it is waited for no more."""
    for moment in _moments:
        stop_begun_before(moment)
