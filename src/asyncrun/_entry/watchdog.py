"""The thread behind ``exit_timeout``.

Rules of this module:

- The thread starts with `run`, because a signal handler cannot start one.
- Nothing holds up the end: neither a stuck call that holds the lock of standard error, nor a reader
  of standard error that reads no more.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import final

from .._system.process_exit import FLUSH_TIMEOUT, is_interactive, kill_self, write_stderr
from .._system.terminal import restore_modes


@final
class Watchdog:
    """Ends the process some time after the first signal, unless the process has ended by itself.

    Args:
        seconds: The time between the signal and the end.
    """

    def __init__(self, seconds: float) -> None:
        import faulthandler  # noqa: PLC0415 - rarely needed, and not to be imported when stuck

        self._dump = faulthandler.dump_traceback
        self._seconds = seconds
        self._signum: int | None = None
        self._trigger = threading.Lock()
        self._trigger.acquire()
        name = "asyncrun exit_timeout"
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    def arm(self, signum: int) -> None:
        """Start the time; from a signal handler.

        Args:
            signum: The signal by which the process is to end.
        """
        self._signum = signum
        self._release()

    def cancel(self) -> None:
        """End the thread, unless a signal has come."""
        self._release()
        if self._signum is None:
            self._thread.join()

    def _release(self) -> None:
        # A handler of main's may call ours at any moment, and so arm what is being dismissed.
        with suppress(RuntimeError):
            self._trigger.release()

    def _watch(self) -> None:
        self._trigger.acquire()
        if (signum := self._signum) is None:
            return
        self._trigger.acquire(timeout=min(self._seconds, threading.TIMEOUT_MAX))
        if is_interactive():
            return
        name = signal.Signals(signum).name
        what = f"still here {self._seconds:g} s after {name}; the stacks of all threads"
        write_stderr(f"asyncrun: {what}:\n", FLUSH_TIMEOUT)
        with suppress(Exception):
            self._write_stacks()
        restore_modes()
        kill_self(signum)

    def _write_stacks(self) -> None:
        # `faulthandler` writes with the GIL held: on a full pipe that would stop the process.
        if (create := getattr(os, "memfd_create", None)) is None:  # this is not Linux
            self._dump()
            return
        with os.fdopen(create("stacks"), "w+b") as file:
            self._dump(file)
            file.seek(0)
            write_stderr(file.read().decode(errors="replace"), FLUSH_TIMEOUT)
