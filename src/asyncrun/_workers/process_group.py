"""The end of a process group: when a worker is to end, or together with its parent.

Rule of this module: once a group was found gone its id is not used again, for the kernel may give
it to another one.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


TERM_TIMEOUT: Final = 0.1
"""Seconds between SIGTERM and SIGKILL."""

KILL_TIMEOUT: Final = 1.0
"""Seconds after SIGKILL until a process is given up, which the kernel does not let go."""


def kill_group_with_parent(lifeline: int, pid: int) -> None:
    """Make the kernel kill a process group when no process holds the other end of a pipe.

    It does so whatever the group's processes do, which a thread in one of them could not: another
    one may hold the GIL. Nothing may be written to the pipe from now on.
    """
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - Windows has none

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -pid)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def terminate_group(popen: subprocess.Popen[bytes], term_timeout: float = TERM_TIMEOUT) -> None:
    """End a process, and all of its group.

    Args:
        popen: The process, which leads the group.
        term_timeout: Seconds between SIGTERM and SIGKILL; 0 means SIGKILL alone.
    """
    if term_timeout:
        _signal(popen, signal.SIGTERM)
    if not wait_until(lambda: _is_gone(popen), term_timeout):
        _signal(popen, getattr(signal, "SIGKILL", signal.SIGTERM))
        wait_until(lambda: popen.poll() is not None, KILL_TIMEOUT)


def _signal(popen: subprocess.Popen[bytes], signum: int) -> None:
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # macOS forbids it for what is dead
            os.killpg(popen.pid, signum)
    popen.send_signal(signum)  # it may have joined another group


def _is_gone(popen: subprocess.Popen[bytes]) -> bool:
    """Return whether a process has ended, and all of its group, which keeps others off its id."""
    if popen.poll() is None:
        return False
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, 0)
            return False
    return True


def wait_until(is_so: Callable[[], bool], timeout: float) -> bool:
    """Wait until something is so, for at most so many seconds; return whether it is."""
    deadline, pause = time.monotonic() + timeout, 0.0005
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    return True
