"""Workers of the standard library's process pool, which inherit what the program has.

A program may count on what ``fork`` passes on, and have no ``if __name__ == "__main__":``. So where
processes are forked, the pool is the standard library's, and so are its workers; but each of them
leads a process group, which ends with the program, and is killed where the pool is to stop.

Rule of this module: it is imported by whoever handles a signal, and so imports nothing heavy.
"""

from __future__ import annotations

import os
import signal
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..._workers.process_group import KILL_TIMEOUT, kill_group_with_parent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from multiprocessing.connection import Connection

Workers = tuple[dict[int, Any], object]

_workers: Final[weakref.WeakKeyDictionary[threading.Thread, Workers]] = weakref.WeakKeyDictionary()
"""The workers of each pool, by the thread that manages them, and what they live with; a pool may be
gone before its work."""

# They are the parent's, and so are the locks that it held at the fork.
getattr(os, "register_at_fork", dict)(after_in_child=_workers.clear)


def register(manager: threading.Thread, processes: dict[int, Any], lifeline: object = None) -> None:
    """Note the workers of a pool.

    Args:
        manager: The thread that manages them.
        processes: Each `multiprocessing.Process`, by its id; there may be more of them later.
        lifeline: The ends of the pipe that `initialize` takes; when it is gone, they are killed.
    """
    _workers[manager] = processes, lifeline


def initialize(
    reader: Connection,
    writer: Connection | None,
    function: Callable[..., object] | None,
    *args: Any,
) -> None:
    """Make a worker end with the program; then call what the program wants to be called.

    Args:
        reader: The end of a pipe.
        writer: Its other end, which is the program's alone; None where it is not inherited.
        function: The initializer of the program's pool.
        *args: Its arguments.
    """
    from ..._workers.process.child.main import leave_terminal  # noqa: PLC0415 - see above

    if sys.platform != "win32":
        os.setpgid(0, 0)  # so that Ctrl-C reaches the program alone
        leave_terminal()
    if sys.platform == "linux":
        if writer is not None:
            writer.close()
        # A description of its own: that which is inherited has one owner for all workers.
        fd = os.open(f"/proc/self/fd/{reader.fileno()}", os.O_RDONLY | os.O_NONBLOCK)
        kill_group_with_parent(fd, os.getpid())
    if function is not None:
        function(*args)


def kill(processes: dict[int, Any]) -> None:
    """Kill workers, with all that they have started; from any thread or handler."""
    for pid, process in list(processes.items()):
        if process.exitcode is None:  # else the id may be another one's by now
            for send in (os.killpg, os.kill):  # it may not lead its group yet
                with suppress(ProcessLookupError):
                    send(pid, signal.SIGKILL)


def kill_all() -> list[threading.Thread]:
    """Kill the workers of all pools; return the threads that have managed them."""
    managers = [each for each in list(_workers) if each.is_alive()]
    for manager in managers:
        kill(_workers[manager][0])
    return managers


def stop_all() -> None:
    """Kill them, and wait for those threads, which meet the exit handlers of `multiprocessing`."""
    for manager in kill_all():
        manager.join(KILL_TIMEOUT)
