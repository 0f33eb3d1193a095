# pyright: basic
"""The backends of joblib that run its tasks in the executors.

Rules of this module:

- What joblib's own backends do about batches, inner threads, memory maps and nesting is theirs.
- A `joblib.Parallel` has the processes that it uses for itself, so it can end them all. They are
  kept for the next one if all went well.
- A task is pickled with joblib's reducers, which put large arrays into files, and so is its result.
  The files are counted by joblib's resource tracker, which a worker is told of as it starts.
"""

from __future__ import annotations

import copyreg
import os
import pickle
import sys
import threading
from collections import ChainMap
from concurrent.futures import Future
from multiprocessing import reduction
from typing import TYPE_CHECKING, Any, Final, cast, final

from joblib import _memmapping_reducer as memmapping
from joblib._parallel_backends import (
    FallbackToBackend,
    LokyBackend,
    SequentialBackend,
    ThreadingBackend,
)
from joblib.externals.loky.backend import resource_tracker

from .._workers.remote.serialization import dumps, pickle_with
from .process.executor import ProcessPoolExecutor
from .thread import ThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Initializer = tuple[Callable[..., object] | None, tuple[Any, ...]]
    Reducers = Mapping[type, Callable[[Any], Any]]

ABORTED: Final = "its joblib.Parallel was aborted"

IDLE_TIMEOUT: Final = 300.0
"""Seconds for which processes that nobody uses are kept, as loky has it."""


@final
class ProcessBackend(LokyBackend):  # type: ignore[misc]
    """The backend ``"asyncrun"``."""

    _workers: Workers | None = None

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: Any = None,
        require: Any = None,
        idle_worker_timeout: float | None = None,
        **options: Any,
    ) -> int:
        """Take processes for a `joblib.Parallel`, and return how many."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        options = {**self.backend_kwargs, **options}
        kept = options.pop("idle_worker_timeout", None)
        self._idle_timeout = idle_worker_timeout or kept or IDLE_TIMEOUT
        initializer = options.pop("initializer", None), options.pop("initargs", ())
        files = memmapping.TemporaryResourcesManager(
            options.pop("temp_folder", None), context_id=parallel._id
        )
        self._reducers, _ = memmapping.get_memmapping_reducers(
            temp_folder_resolver=files.resolve_temp_folder_name, **options
        )
        self._dumping = threading.Lock()
        self._workers = take_workers(n_jobs, self._prepare_worker_env(n_jobs=n_jobs), initializer)
        self._workers._temp_folder_manager = files
        self.parallel = parallel
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any]) -> Future[Any]:
        """Submit a batch of tasks."""
        tasks = Tasks(func, self._reducers, self._dumping)
        future: Future[Any] = Future()
        try:
            future = cast("Workers", self._workers).submit(run_tasks, tasks)
        except (AttributeError, RuntimeError):  # aborted, in this moment
            if not self.parallel._aborting:
                raise
            future.cancel()
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """Return the results of a batch, or raise its error."""
        result = future.result()
        return pickle.loads(result.content) if isinstance(result, Pickled) else result  # noqa: S301

    def terminate(self) -> None:
        """Return the processes, after the last batch."""
        if self._workers is not None:
            self._workers._temp_folder_manager._clean_temporary_resources()
            keep_workers(self._workers, self._idle_timeout)
            self._workers = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002
        """End all batches, and their processes."""
        if self._workers is not None:
            workers, self._workers = self._workers, None
            workers.stop(ABORTED)
            workers.shutdown()
            # No process is left that could give back what it counts.
            workers._temp_folder_manager._clean_temporary_resources(force=True)
        if ensure_ready:
            self.configure(
                n_jobs=self.parallel.n_jobs,
                parallel=self.parallel,
                **self.parallel._backend_kwargs,
            )


@final
class ThreadBackend(ThreadingBackend):  # type: ignore[misc]
    """The backend ``"asyncrun-threads"``."""

    _pool: ThreadPoolExecutor | None = None

    def _get_pool(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._n_jobs)
        return self._pool

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any]) -> Future[Any]:
        """Submit a batch of tasks."""
        future = self._get_pool().submit(func)
        future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """Return the results of a batch, or raise its error."""
        return future.result()

    def terminate(self) -> None:
        """End the threads, after the last batch."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002
        """Ask all batches to stop; further ones get other threads."""
        if self._pool is not None:
            self._pool.stop(ABORTED)
        self.terminate()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return the backend of a `joblib.Parallel` in a task."""
        nested, n_jobs = super().get_nested_backend()
        if isinstance(nested, ThreadingBackend):
            nested = ThreadBackend(nesting_level=nested.nesting_level)
        return nested, n_jobs


#
# Processes
#


@final
class Workers(ProcessPoolExecutor):
    """The processes of one `joblib.Parallel` after the other.

    Args:
        n_jobs: How many.
        environment: Variables that they have beyond those of the program.
        initializer: What each process calls first, or None, and its arguments.

    Attributes:
        key: What a ``Parallel`` that can use them wants.
        expiry: Ends them, when nobody uses them.
    """

    key: object
    expiry: threading.Timer
    _temp_folder_manager: memmapping.TemporaryResourcesManager  # where joblib looks for it

    def __init__(
        self, n_jobs: int, environment: Mapping[str, str], initializer: Initializer
    ) -> None:
        self._environment = environment
        self.key = n_jobs, environment, initializer
        # On Windows each process has a tracker of its own.
        tracker = None if sys.platform == "win32" else TrackerFd()
        super().__init__(n_jobs, initializer=begin, initargs=(tracker, *initializer))


_idle: Final[list[Workers]] = []
_lock: Final = threading.Lock()


def take_workers(n_jobs: int, environment: Mapping[str, str], initializer: Initializer) -> Workers:
    """Return processes that nobody uses; end those that are of no use here."""
    key = n_jobs, environment, initializer
    with _lock:
        known, _idle[:] = _idle[:], []
    found: Workers | None = None
    for workers in known:
        workers.expiry.cancel()
        if found is None and workers.key == key:
            found = workers
        else:
            workers.shutdown(wait=False)
    return found or Workers(n_jobs, environment, initializer)


def keep_workers(workers: Workers, timeout: float) -> None:
    """Keep processes for the next `joblib.Parallel`."""
    workers.expiry = threading.Timer(timeout, _expire, (workers,))
    workers.expiry.daemon = True
    with _lock:
        _idle.append(workers)
    workers.expiry.start()


def _expire(workers: Workers) -> None:
    with _lock:
        if workers not in _idle:  # it is in use again
            return
        _idle.remove(workers)
    workers.shutdown(wait=False)


@final
class TrackerFd:
    """The pipe to joblib's resource tracker, for a worker process to inherit.

    Args:
        inherited: What it is there.
    """

    def __init__(self, inherited: Any = None) -> None:
        self.inherited = inherited

    def __reduce__(self) -> tuple[Any, ...]:
        fd: Any = resource_tracker.getfd()
        return TrackerFd, (reduction.DupFd(fd),)


def begin(
    tracker: TrackerFd | None, initializer: Callable[..., object] | None, args: tuple[Any, ...]
) -> None:
    """Make a worker process count files with the tracker of its parent, and initialize it."""
    if tracker is not None:
        descriptor: int = tracker.inherited.detach()
        os.set_inheritable(descriptor, False)  # noqa: FBT003
        resource_tracker._resource_tracker._fd = descriptor
    if initializer is not None:
        initializer(*args)


#
# Tasks
#


@final
class Tasks:
    """A batch of tasks; as it is pickled, large arrays go into files.

    Args:
        func: Runs them.
        reducers: What joblib knows of arrays.
        dumping: Held while they are used: another thread may not find a half-written file.
    """

    __slots__ = ("_dumping", "_func", "_reducers")

    def __init__(
        self, func: Callable[[], Any], reducers: Reducers, dumping: threading.Lock
    ) -> None:
        self._func = func
        self._reducers = reducers
        self._dumping = dumping

    def __reduce__(self) -> tuple[Any, ...]:
        with self._dumping:
            content = dump_arrays(self._func, self._reducers)
        return pickle.loads, (content,)  # noqa: S301


@final
class Pickled:
    """The results of a batch.

    Args:
        content: The bytes.
    """

    __slots__ = ("content",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return Pickled, (self.content,)


def run_tasks(func: Any) -> Any:
    """Run a batch of tasks, in a worker process."""
    results = func()
    if "numpy" not in sys.modules:
        return results
    _, reducers = memmapping.get_memmapping_reducers()
    return Pickled(dump_arrays(results, reducers))


def dump_arrays(value: object, reducers: Reducers) -> bytes:
    """Pickle something with joblib's reducers."""

    def pickle_it(value: object) -> bytes:
        return pickle_with(_with(pickle.Pickler, copyreg.dispatch_table, reducers), value)

    def pickle_by_value(pickler: Any, value: object) -> bytes:
        return pickle_with(_with(pickler, pickler.dispatch_table, reducers), value)

    return dumps(value, "a batch of tasks", pickle_it, pickle_by_value)


def _with(pickler: type[pickle.Pickler], table: Any, reducers: Reducers) -> type[pickle.Pickler]:
    return type("Pickler", (pickler,), {"dispatch_table": ChainMap(dict(reducers), table)})
