"""The worker processes of one runner: who has which, and how all of them end.

Rule of this room: a process is idle, or lent to one thread, or ended; and who gives one back to a
fleet that is closed sees to its end.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Final, final

from ..._core.errors import WorkerStartError
from ..remote.serialization import is_plain, pack
from .handle import Process
from .spawn import KILL_PATIENCE, TERM_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from .handle import Initializer

EXIT_PATIENCE: Final = 5.0
"""Seconds that idle processes may take to exit: for exit handlers, finalizers and threads that are
not daemons. `multiprocessing` waits without a limit; here one that hangs must not hold up the end.
"""

STOP_PATIENCE: Final = 2.0
"""The same where the runner was cancelled, by Ctrl-C perhaps."""


@final
class Fleet:
    """The processes of one runner.

    Args:
        initializer: A function that each process calls first, with its arguments; or None.
        max_calls: How many calls a process may run; None means no limit.
        grace: See `Process`.
    """

    def __init__(
        self,
        initializer: Initializer | None,
        max_calls: int | None,
        grace: float,
    ) -> None:
        self._initializer = initializer
        self._max_calls = math.inf if max_calls is None else max_calls
        self._grace = grace
        self._lock = threading.Lock()
        self._idle: dict[Process, None] = {}
        self._lent: dict[Process, None] = {}
        self._returned = threading.Condition(self._lock)
        self._last: tuple[object, bytes] = None, b""
        self._is_closed = False

    def take(self, name: str) -> Process:
        """Take a process, which may have to be started yet.

        Args:
            name: The call that it is for.

        Returns:
            The process; `give` it back.

        Raises:
            WorkerStartError: It cannot be made (a `RuntimeError`).
        """
        while (process := self._take_idle()) is not None:
            if process.is_alive():
                return process
            process.end()
            self.give(process)
        process = self._make(name)
        with self._lock:
            self._lent[process] = None
        return process

    def take_warm(self, keep: Callable[[Process], object]) -> bool:
        """Take a process that can take more than one call, if there is one, without waiting.

        Args:
            keep: Gets the process before it is taken, for a KeyboardInterrupt may come in between.

        Returns:
            Whether there is one.
        """
        with self._lock:
            process = next(reversed(self._idle), None)
            if (
                process is None
                or self.left(process) <= 1
                or process.wire.fileno() == -1
                or not process.is_alive()
            ):
                return False
            keep(process)
            self._lent[process] = self._idle.pop(process)
            return True

    def _take_idle(self) -> Process | None:
        with self._lock:
            if not self._idle:
                return None
            process, _ = self._idle.popitem()
            self._lent[process] = None
            return process

    def _make(self, name: str) -> Process:
        try:
            return Process(self._initializer, self._grace)
        except OSError as exc:
            raise WorkerStartError(name, str(exc)) from exc

    def give(self, process: Process) -> None:
        """Give it back; it takes time if it cannot take another call."""
        with self._lock:
            if process.is_usable() and self.left(process) and not self._is_closed:
                self._idle[process] = self._lent.pop(process, None)
                return
        try:
            if process.is_usable():
                process.retire()
                process.end(EXIT_PATIENCE)
            else:
                process.end()
        finally:
            with self._returned:
                self._lent.pop(process, None)
                self._returned.notify_all()

    def pack(self, func: Callable[..., object], name: str) -> bytes:
        """Turn a function into bytes; into the same object as the last time, if that will do."""
        last, packed = self._last
        if func is not last:
            packed = pack(func, name)
            if is_plain(func):
                self._last = func, packed
        return packed

    def left(self, process: Process) -> float:
        """Tell how many more calls a process may run."""
        return self._max_calls - process.used

    def close(self, *, is_cancelled: bool = False) -> None:
        """End all processes: first those that are idle, and the others as they are given back.

        Args:
            is_cancelled: Whether somebody waits for a prompt.
        """
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, {}
        for process in idle:
            process.retire()
        limit = time.monotonic() + (STOP_PATIENCE if is_cancelled else EXIT_PATIENCE)
        for process in idle:
            process.end(max(0.0, limit - time.monotonic()))
        patience = self._grace + TERM_PATIENCE + KILL_PATIENCE + EXIT_PATIENCE
        with self._returned:
            self._returned.wait_for(lambda: not self._lent, min(patience, threading.TIMEOUT_MAX))
            lost = list(self._lent)
        for process in lost:  # a KeyboardInterrupt came at a bad moment
            process.end()
