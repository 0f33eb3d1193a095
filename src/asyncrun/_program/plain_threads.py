"""Threads of the program's own, which Python waits for without end.

Rule of this module: only what keeps the process from its end is listed, and so no daemon.
"""

from __future__ import annotations

import _thread
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .._core.registry import NO_LINE, current_frames, user_line
from .._core.report import function_name
from .._executors.at_exit import NOTICEABLE
from .._system.process_exit import is_terminal, print_stderr

if TYPE_CHECKING:
    from types import FrameType

MANAGERS: Final = frozenset({"concurrent.futures.process"})
"""Modules whose threads only manage what others run."""


def plain_threads() -> list[threading.Thread]:
    """Return the threads that run, and that Python waits for."""
    ended = (threading.current_thread(), threading.main_thread())
    return [each for each in threading.enumerate() if not each.daemon and each not in ended]


def announce() -> None:
    """Start to wait, and to print on a terminal which of them the process then still waits for."""
    if plain_threads() and is_terminal():
        with suppress(RuntimeError):  # the system gives no thread
            _thread.start_new_thread(_announce, ())


def _announce() -> None:
    time.sleep(NOTICEABLE)
    if lines := described():
        count = "1 thread" if len(lines) == 1 else f"{len(lines)} threads"
        what = f"waiting for {count} to end (the first: {lines[0]})"
        print_stderr([f"{what}; Ctrl-C ends the program"])


def described() -> list[str]:
    """Return a description of each of them, as there is one of each call."""
    frames = current_frames()
    threads = [each for each in plain_threads() if type(each).__module__ not in MANAGERS]
    return [_describe(each, frames.get(each.ident or 0)) for each in threads]


def report() -> list[str]:
    """Return a line for each of them that is left running."""
    return [f"left running: {line}" for line in described()]


def _describe(thread: threading.Thread, frame: FrameType | None) -> str:
    target = getattr(thread, "_target", None)
    function = f"{type(thread).__qualname__}.run" if target is None else function_name(target)
    title = thread.name if function in thread.name else f"{thread.name} ({function})"
    age = _age(thread.native_id)
    return f"{title}, {'' if age is None else f'{age:.1f} s, '}at {line_of(frame)}"


def line_of(frame: FrameType | None) -> str:
    """Return the line that a thread is at, as a report has it."""
    return user_line(frame) or NO_LINE


def _age(native_id: int | None) -> float | None:
    """Return the seconds since a thread was started, where the system knows."""
    with suppress(OSError, AttributeError, IndexError):
        stat = Path(f"/proc/self/task/{native_id}/stat").read_text("ascii", "replace")
        ticks = int(stat.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return None
