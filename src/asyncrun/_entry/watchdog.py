"""The thread behind ``exit_timeout``.

Rule of this module: the thread starts with `run`, because a signal handler cannot start one.
"""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import final

from .._system.process_exit import (
    is_interactive,
    kill_self,
    print_stderr,
)
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
        print_stderr([f"still here {self._seconds:g} s after {name}; the stacks of all threads:"])
        with suppress(Exception):
            self._dump()
        restore_modes()
        kill_self(signum)
