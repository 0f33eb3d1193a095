"""The `concurrent.futures` face of worker processes: `ProcessPoolExecutor`.

Rules of this module:

- The processes are those of ``worker="process"``: a call is asked to stop first, and its process
  is killed if it does not listen.
- A thread for each process takes calls from the pool's queue. A process that ends costs the call
  that runs in it; the pool goes on, with another process.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
from concurrent import futures
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, final

from ..._core.checks import check_count, check_seconds
from ..._system.cpu import usable_cores
from ..._workers.process.pool import EXIT_TIMEOUT, ProcessPool
from ..._workers.process_group import KILL_TIMEOUT, TERM_TIMEOUT, wait_until
from ..executor import StoppableExecutor
from ..pool.threads import Pool
from .call import ProcessCall, initialize, make_broken_error
from .map_item import ProcessMapItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.context import BaseContext
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")

_count: Final = itertools.count()

START_TIMEOUT: Final = 5.0
"""Seconds that a monitor waits for processes that are being started."""

INHERITED: Final = (
    "the workers of an asyncrun executor are always spawned, was {!r}: leave mp_context out, and "
    "hand what the processes are to share to an initializer, for they inherit no globals"
)


class ProcessPoolExecutor(StoppableExecutor, futures.ProcessPoolExecutor):
    """A `concurrent.futures.ProcessPoolExecutor` whose calls can be stopped.

    It takes that one's place by a change of the import, in synchronous programs and as asyncio's
    executor (`asyncio.loop.run_in_executor`). In addition:

    - `safe_point`, `stop_token` and `StopToken.on_stop` work in each call.
    - ``Future.cancel()`` on a call that runs, and the cancellation of a task that awaits it, stop
      the call: it is asked to stop; it has ``grace`` seconds if it has passed a safe point or holds
      an `StopToken.on_stop` callback; then its process is ended, with all that it has started. The
      future then fails with `Stopped`, when the process is gone.
    - A process that ends under a call costs that call alone: its future fails with a `WorkerDied`,
      which handlers of `concurrent.futures.process.BrokenProcessPool` catch. The pool goes on.
    - Leaving the ``with`` block by an exception, a KeyboardInterrupt above all, stops everything;
      leaving it normally waits for everything, as ever. Ctrl-C in a terminal reaches the program
      alone. No process outlives the program, in whatever way that ends.

    Processes are started with ``spawn`` as calls need them, so the main module of a script needs
    its ``if __name__ == "__main__":``, and functions, arguments and results are pickled. See
    `asyncrun.ProcessWorkers` for what goes by value, where cloudpickle is installed.

    Args:
        max_workers: How many processes there may be, at least 1; None means as many as there are
            cores that this process may use.
        mp_context: None, or a ``spawn`` context of `multiprocessing`.
        initializer: What each process calls first, if anything. If it fails, the executor is
            broken: what waits fails, and further calls are refused, with
            `concurrent.futures.process.BrokenProcessPool`.
        initargs: Its positional arguments.
        max_tasks_per_child: After how many calls, at least 1, a process is replaced; None means
            never.
        grace: Seconds, at least 0, that a call has which was asked to stop and is likely to notice.

    Raises:
        ValueError: A number is out of its range, or ``mp_context`` is not for ``spawn``.
        TypeError: ``initializer`` is not callable, or ``max_tasks_per_child`` is not a whole
            number.
    """

    _environment: Mapping[str, str] = MappingProxyType({})  # for `asyncrun.joblib`

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[[*ArgsT], object] | None = None,
        initargs: tuple[*ArgsT] = (),  # type: ignore[assignment]
        *,
        max_tasks_per_child: int | None = None,
        grace: float = 2.0,
    ) -> None:
        _check(max_workers, mp_context, initializer, max_tasks_per_child)
        check_seconds("grace", grace)
        self._max_workers = usable_cores() if max_workers is None else max_workers
        self._broken = False
        start = None if initializer is None else (initialize, (initializer, initargs))
        self._worker_pool = processes = ProcessPool(
            start, max_tasks_per_child, grace, self._environment
        )
        name = f"ProcessPoolExecutor-{next(_count)}"
        pool = Pool(
            f"<ProcessPoolExecutor {name!r}>",
            prefix=name,
            size=self._max_workers,
            grace=grace + TERM_TIMEOUT + KILL_TIMEOUT + EXIT_TIMEOUT,
            initialize=None,
            make_broken_error=make_broken_error,
        )
        pool.on_thread_end = partial(_close_with_last_thread, processes)
        pool.on_fork = processes.reset_after_fork
        self._open(pool, partial(ProcessCall, processes), partial(ProcessMapItem, processes))
        # Private, but there are monitors and tests that read them.
        self._pending_work_items: Any = pool.waiting
        self._mp_context = get_context("spawn")

    @property
    def _processes(self) -> dict[int, ProcessView]:  # type: ignore[override]
        # In `concurrent.futures` they are there when `submit` returns.
        wait_until(lambda: not (self._pool.starting() or self._has_starting_calls()), START_TIMEOUT)
        several = [each.popen for each in self._worker_pool.processes()]
        return {each.pid: ProcessView(each) for each in several if each is not None}

    def _has_starting_calls(self) -> bool:
        return any(call.state == "starting" for call in self.calls())

    def terminate_workers(self) -> None:
        """End all processes, without a time of grace, and take no further calls.

        Calls that run are asked to stop, and end with their processes, by SIGTERM or, shortly
        afterwards, SIGKILL. It does not wait for that. Python has this from 3.14 on.
        """
        self._kill(at_once=False)

    def kill_workers(self) -> None:
        """Do what `terminate_workers` does, by SIGKILL alone."""
        self._kill(at_once=True)

    def _kill(self, *, at_once: bool) -> None:
        for process in self._worker_pool.processes():
            process.kill_soon(at_once=at_once)
        self.stop("its workers were killed" if at_once else "its workers were terminated")

    def _check_chunksize(self, chunksize: int) -> None:
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")


def _check(
    max_workers: int | None,
    mp_context: BaseContext | None,
    initializer: Callable[..., object] | None,
    max_tasks_per_child: object,
) -> None:
    """Refuse what `concurrent.futures` refuses, in the same words."""
    if max_workers is not None and max_workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    check_count("max_workers", max_workers)
    if mp_context is not None and mp_context.get_start_method() != "spawn":
        raise ValueError(INHERITED.format(mp_context.get_start_method()))
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    if max_tasks_per_child is not None:
        if not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")


def _close_with_last_thread(processes: ProcessPool, pool: Pool) -> None:
    if pool.closed and not pool.threads and not pool.starting():
        processes.close(is_cancelled=pool.stopped)


@final
class ProcessView:
    """A worker process as `multiprocessing.Process` shows one, for monitors.

    Args:
        popen: The process.

    Attributes:
        pid: Its id.
    """

    pid: int

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid

    @property
    def exitcode(self) -> int | None:
        """See `multiprocessing.Process.exitcode`."""
        return self._popen.poll()

    def is_alive(self) -> bool:
        """See `multiprocessing.Process.is_alive`."""
        return self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """See `multiprocessing.Process.join`."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout)

    def terminate(self) -> None:
        """See `multiprocessing.Process.terminate`."""
        self._popen.send_signal(signal.SIGTERM)  # which looks whether it is there

    def kill(self) -> None:
        """See `multiprocessing.Process.kill`."""
        self._popen.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
