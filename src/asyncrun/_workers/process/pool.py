"""The worker processes of one runner: acquired, released, and ended.

Rule of this module: a process is idle, in use by exactly one thread, or ended. A process released
to a closed pool is ended by the thread that releases it, and none is acquired from one.

    ======= ============ ==================================================================
    state   listed in    left by
    ======= ============ ==================================================================
    idle    ``_idle``    `acquire`; `close`, which ends it
    in use  ``_in_use``  `release`: it is idle, or ends if it cannot take another call
    ended   nothing      nothing
    ======= ============ ==================================================================
"""

from __future__ import annotations

import math
import threading
import time
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Final, final

from ..._core.errors import WorkerStartError
from ..process_group import KILL_TIMEOUT, TERM_TIMEOUT
from ..remote.by_value import pickles_by_name
from ..remote.endpoint import WorkerGone
from ..remote.serialization import dumps
from .child.main import WorkerBootstrap
from .handle import WorkerProcess
from .spawn import note_main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .handle import Initializer

EXIT_TIMEOUT: Final = 5.0
"""Seconds that idle processes may take to exit: for exit handlers, finalizers and threads that are
not daemons. `multiprocessing` waits without a limit; here one that hangs must not hold up the end.
"""

STOP_PATIENCE: Final = 2.0
"""The same where the runner was cancelled, by Ctrl-C perhaps."""


@final
class ProcessPool:
    """The processes of one runner.

    Args:
        initializer: A function that each process calls first, with its arguments; or None.
        max_calls: How many calls a process may run; None means no limit.
        grace: See `WorkerProcess`.
        environment: See `WorkerProcess`.
    """

    def __init__(
        self,
        initializer: Initializer | None,
        max_calls: int | None,
        grace: float,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._initializer = initializer
        self._max_calls = math.inf if max_calls is None else max_calls
        self._grace = grace
        self._environment = environment
        self._last_pickled: tuple[object, bytes] = None, b""
        self._is_closed = False
        note_main()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Begin with nothing: the processes are the parent's."""
        self._lock = threading.Lock()
        self._idle: dict[WorkerProcess, None] = {}
        self._in_use: dict[WorkerProcess, None] = {}
        self._returned = threading.Condition(self._lock)

    def processes(self) -> list[WorkerProcess]:
        """Return the processes that there are."""
        return [process for process in [*self._idle, *self._in_use] if process.popen is not None]

    def acquire(self, name: str) -> WorkerProcess:
        """See `EndpointPool.acquire`."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                process, _ = self._idle.popitem()
                self._in_use[process] = None
            if process.is_alive():
                return process
            process.terminate()
            self.release(process)
        process = self._create(name)
        with self._lock:
            if not self._is_closed:
                self._in_use[process] = None
                return process
        process.terminate()
        raise WorkerGone(None)

    def acquire_idle_nowait(self, attach: Callable[[WorkerProcess], object]) -> bool:
        """See `EndpointPool.acquire_idle_nowait`."""
        with self._lock:
            process = next(reversed(self._idle), None)
            if (
                process is None
                or self.calls_left(process) <= 1
                or process.channels.fileno() == -1
                or not process.is_alive()
            ):
                return False
            attach(process)
            self._in_use[process] = self._idle.pop(process)
            return True

    def _create(self, name: str) -> WorkerProcess:
        try:
            return WorkerProcess(self._initializer, self._grace, WorkerBootstrap, self._environment)
        except OSError as exc:
            raise WorkerStartError(name, str(exc)) from exc

    def release(self, process: WorkerProcess) -> None:
        """See `EndpointPool.release`."""
        with self._lock:
            if process.is_usable() and self.calls_left(process) and not self._is_closed:
                self._idle[process] = self._in_use.pop(process, None)
                return
        try:
            if process.is_usable():
                process.close_input()
                process.terminate(EXIT_TIMEOUT)
            else:
                process.terminate()
        finally:
            with self._returned:
                self._in_use.pop(process, None)
                self._returned.notify_all()

    def pickle_function(self, func: Callable[..., object], name: str) -> bytes:
        """See `EndpointPool.pickle_function`."""
        last, pickled = self._last_pickled
        if func is last:
            return pickled
        content = dumps(func, name)
        if pickles_by_name(func):
            self._last_pickled = func, content
        elif isinstance(func, FunctionType):  # by value: what it refers to may change
            if content == pickled:
                return pickled
            self._last_pickled = None, content
        return content

    def calls_left(self, process: WorkerProcess) -> float:
        """See `EndpointPool.calls_left`."""
        return self._max_calls - process.calls_used

    def close(self, *, is_cancelled: bool = False) -> None:
        """End all processes: first those that are idle, and the others as they are given back.

        Args:
            is_cancelled: Whether somebody waits for a prompt.
        """
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, {}
        for process in idle:
            process.close_input()
        limit = time.monotonic() + (STOP_PATIENCE if is_cancelled else EXIT_TIMEOUT)
        for process in idle:
            process.terminate(max(0.0, limit - time.monotonic()))
        timeout = self._grace + TERM_TIMEOUT + KILL_TIMEOUT + EXIT_TIMEOUT
        with self._returned:
            self._returned.wait_for(lambda: not self._in_use, min(timeout, threading.TIMEOUT_MAX))
            left_over = list(self._in_use)
        for process in left_over:  # a KeyboardInterrupt came at a bad moment
            process.terminate()
