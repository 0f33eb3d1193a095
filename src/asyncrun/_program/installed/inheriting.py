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

from ..._workers.process_group import kill_group_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures.process import ProcessPoolExecutor
    from multiprocessing.connection import Connection

pools: Final[weakref.WeakSet[ProcessPoolExecutor]] = weakref.WeakSet()
"""The pools whose workers inherit."""


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


def kill(pool: Any) -> None:
    """Kill the workers of a pool, with all that they have started; from any thread or handler."""
    for pid in list(pool._processes or ()):  # noqa: SLF001 - until Python 3.14 there is no other way
        for send in (os.killpg, os.kill):  # it may not lead its group yet
            with suppress(ProcessLookupError):
                send(pid, signal.SIGKILL)


def kill_all() -> None:
    """Kill the workers of all such pools."""
    for pool in list(pools):
        kill(pool)
