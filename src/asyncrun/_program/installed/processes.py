"""The process pool that takes the place of the standard library's in a whole program.

Rule of this module: where processes are spawned they are ours. Where they inherit what the program
has, they are the standard library's (see `inheriting`), and each method does what it does there.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import process
from typing import TYPE_CHECKING, Any, Final

from ..._executors.executor import own_submits
from ..._executors.process.executor import ProcessPoolExecutor as StoppableProcessPoolExecutor
from . import inheriting
from .options import options
from .threads import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from multiprocessing.context import BaseContext

replaced: Final = process.ProcessPoolExecutor


class ProcessPoolExecutor(StoppableProcessPoolExecutor, metaclass=Replacement):
    """An `asyncrun.futures.ProcessPoolExecutor` with the constructor of the standard library's.

    Args:
        max_workers: As there.
        mp_context: As there.
        initializer: As there.
        initargs: As there.
        **kwargs: As there.

    Attributes:
        replaces: The standard library's.
    """

    replaces = replaced

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **kwargs: Any,
    ) -> None:
        method = (mp_context or multiprocessing).get_start_method()
        self._inherits = method != "spawn"
        if not self._inherits:
            super().__init__(
                max_workers, mp_context, initializer, initargs, grace=options.grace, **kwargs
            )
            return
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._lifeline = reader, writer = multiprocessing.Pipe(duplex=False)
        start = (reader, writer if method == "fork" else None, initializer, *initargs)
        replaced.__init__(self, max_workers, mp_context, inheriting.initialize, start, **kwargs)

    @property
    def _processes(self) -> Any:
        return self._inherited if self._inherits else super()._processes

    @_processes.setter
    def _processes(self, processes: Any) -> None:
        self._inherited = processes

    def _start_executor_manager_thread(self) -> None:
        super()._start_executor_manager_thread()
        manager: Any = self._executor_manager_thread
        inheriting.register(manager, self._inherited, self._lifeline)

    def __repr__(self) -> str:
        return object.__repr__(self) if self._inherits else super().__repr__()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `concurrent.futures.Executor.submit`."""
        if self._inherits:
            return replaced.submit(self, fn, *args, **kwargs)
        return super().submit(fn, *args, **kwargs)

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[object], **kwargs: Any
    ) -> Iterator[Any]:
        """See `concurrent.futures.Executor.map`."""
        if self._inherits:
            return replaced.map(self, fn, *iterables, **kwargs)
        return super().map(fn, *iterables, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """See `concurrent.futures.Executor.shutdown`."""
        if self._inherits:
            replaced.shutdown(self, wait, cancel_futures=cancel_futures)
        else:
            super().shutdown(wait, cancel_futures=cancel_futures)

    def stop(self, reason: str | None = None) -> None:
        """Stop what runs, and take no more."""
        if self._inherits:
            inheriting.kill(self._inherited or {})
            replaced.shutdown(self, wait=False, cancel_futures=True)
        else:
            super().stop(reason)

    def _kill(self, *, at_once: bool) -> None:
        if self._inherits:
            self.stop()
        else:
            super()._kill(at_once=at_once)

    def _abandon(self, error: BaseException) -> None:
        if self._inherits:
            inheriting.kill(self._inherited or {})
            replaced.shutdown(self, cancel_futures=True)
        else:
            super()._abandon(error)


own_submits.add(ProcessPoolExecutor.submit)
