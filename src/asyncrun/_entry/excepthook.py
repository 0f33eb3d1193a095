"""The end of a program by an uncaught `Interrupted`: its last lines, and its signal.

Rule of this module: the hook leaves every other error to the hook that was there before.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, final

from .._core.errors import Interrupted, first_leaf
from .._core.registry import all_running
from .._core.report import report
from .._system.process_exit import (
    exit_by_signal,
    is_interactive,
    print_stderr,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


@final
class _ExceptHook:
    """A `sys.excepthook` that knows `Interrupted`, and leaves the rest to the one before it."""

    def __init__(self, previous: Callable[..., object]) -> None:
        self._previous = previous

    def __call__(
        self,
        exc_type: type[BaseException],
        exc: BaseException,
        tb: TracebackType | None,
    ) -> None:
        if not isinstance(exc, Interrupted):
            self._previous(exc_type, exc, tb)
        elif is_interactive():
            print_stderr(_final_lines(exc))
        else:
            exit_by_signal(exc.signum, partial(_final_lines, exc))


def make_interrupted(signum: int) -> Interrupted:
    """Return the error that `run` raises after a signal, and install the hook that knows it."""
    if not isinstance(sys.excepthook, _ExceptHook):
        sys.excepthook = _ExceptHook(sys.excepthook)
    return Interrupted(signum)


def _final_lines(interrupted: Interrupted) -> list[str]:
    words = str(interrupted)
    if (cause := interrupted.__cause__) is not None:
        words += f"; as it ended, {_one_line(cause)}"
    return [words, *report(all_running())]


def _one_line(error: BaseException) -> str:
    error = first_leaf(error)  # it tells more than its group
    try:
        first, *_ = str(error).splitlines() or [""]
    except Exception:  # noqa: BLE001 - whatever a __str__ may raise
        first = "<its message cannot be printed>"
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
