"""The face that the executors share: that of `concurrent.futures`.

Rules of this module:

- What `concurrent.futures` documents of an executor holds, to the messages that programs look for.
- Leaving the block by an error asks everything to stop; a KeyboardInterrupt is as quiet about what
  is left behind as Python is.
- How calls run is the business of `pool` and of the work items.
"""

from __future__ import annotations

import logging
import weakref
from concurrent import futures
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from .._core.checks import check_count, check_timeout
from .._core.registry import all_running, snapshot
from .._core.report import log_left_behind
from .at_exit import install_exit_hook
from .maps.iterator import MapIterator
from .maps.submitted import Submitted
from .pool import deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import ParamSpec

    from .._core.registry import CallInfo
    from .call import FutureCall
    from .maps.work_item import MapWorkItem
    from .pool.threads import Pool

    P = ParamSpec("P")

T = TypeVar("T")

install_exit_hook()


class StoppableExecutor(futures.Executor):
    """An executor over a pool of threads, each of whose calls can be stopped.

    A subclass calls `_open` in its constructor.
    """

    _pool: Pool
    _make_call: Callable[..., FutureCall[Any]]
    _make_map_item: Callable[..., MapWorkItem]
    _shutdown: bool

    def _open(
        self,
        pool: Pool,
        make_call: Callable[..., FutureCall[Any]],
        make_map_item: Callable[..., MapWorkItem],
    ) -> None:
        """Take calls from now on.

        Args:
            pool: Runs them.
            make_call: Makes the work item of a call.
            make_map_item: Makes a work item of a map.
        """
        self._pool = pool
        self._make_call = make_call
        self._make_map_item = make_map_item
        # What lives on without the executor ends when its work is done.
        pool.owner_ref = weakref.ref(self, partial(_close, pool))

    def __repr__(self) -> str:
        return repr(self._pool)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call of a function.

        Args:
            fn: The function.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The future of its result. `Stopped` is its exception where a safe point raised that.

        Raises:
            RuntimeError: The executor was shut down, or the interpreter ends, or the initializer
                has failed.
        """
        pool = self._pool
        if pool.closed:
            pool.check_open()
        call = self._make_call(pool, fn, args, kwargs)
        pool.add(call.future, call)
        return call.future

    def options(self, *, timeout: float | None = None) -> ExecutorOptions:
        """Return what submits calls to this executor with options of their own.

        Args:
            timeout: Seconds, above 0, that a call may take from when it begins. Then it is asked
                to stop, and its future fails with a `CallTimeoutError`, which is a `TimeoutError`:
                at once if the call is in a thread, where it may go on and keep its slot; when the
                call has ended, if need be by the end of its process, if it is in one. None means
                no limit.

        Returns:
            An object with a ``submit`` like that of the executor.

        Raises:
            ValueError: ``timeout`` is not above 0.
        """
        check_timeout("timeout", timeout)
        return ExecutorOptions(self, timeout)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call a function with each item, several at once.

        It does what ``map(fn, *iterables)`` does, but all items begin as soon as there are
        workers for them. Closing the iterator early, also by an error of an item or a time-out,
        drops what waits and asks what runs to stop.

        Where `submit` is replaced, on a subclass, on this executor or on this class, each item
        goes through it, as in `concurrent.futures`. The results then cost as much as futures do.

        Args:
            fn: The function.
            *iterables: Where its positional arguments come from; they are read at once, in this
                thread, unless there is a ``buffersize``.
            timeout: Seconds from now that all results may take; None means no limit.
            chunksize: A hint, at least 1, that is not needed: threads take items one by one, and
                small items are sent to a process together as it is.
            buffersize: How many items may be taken ahead of the results that were read, at least
                1; None means all.

        Returns:
            An iterator of the results, in the order of the items. It raises what a call has
            raised, a `TimeoutError`, or `concurrent.futures.CancelledError` for an item that was
            dropped when the executor was stopped or shut down.

        Raises:
            ValueError: ``buffersize`` or ``chunksize`` is out of its range.
            RuntimeError: The executor was shut down, or the interpreter ends, or the initializer
                has failed.
        """
        check_count("buffersize", buffersize)
        self._check_chunksize(chunksize)
        submit = self.submit
        if type(submit) is not MethodType or submit.__func__ not in own_submits:
            return Submitted(
                submit, fn, iterables, timeout=timeout, buffersize=buffersize
            ).results()
        mapped = MapIterator(
            self._pool,
            fn,
            iterables,
            timeout=timeout,
            buffersize=buffersize,
            owner=self,
            make_work_item=self._make_map_item,
        )
        return mapped.results()

    def _check_chunksize(self, chunksize: int) -> None:
        """Refuse what `concurrent.futures` refuses: the thread pool takes anything."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no further calls, and let the workers end when all is done.

        Args:
            wait: Whether to wait for that. A call in a thread that was asked to stop is waited for
                up to ``grace`` seconds if it is likely to notice, and not at all if not.
            cancel_futures: Whether to cancel what has not begun.

        Raises:
            RuntimeError: It is to be waited for in a call of its own.
        """
        self._shutdown = True
        self._pool.close()
        if cancel_futures:
            self._pool.cancel_pending()
        if wait:
            self._pool.wait()

    def stop(self, reason: str | None = None) -> None:
        """Take no further calls, cancel what has not begun, and ask what runs to stop.

        It waits for nothing, and may be called from any thread. In a signal handler raise an
        exception instead: others may hold the lock of a future.

        Args:
            reason: Why, in a few words, for the message of `Stopped`.
        """
        self._shutdown = True
        self._pool.stop(reason)

    def calls(self) -> list[CallInfo]:
        """Return the calls that run now, the oldest first; also those left behind."""
        return snapshot(call for call in all_running() if call.owner is self._pool)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Wait for everything; or after an error stop it (rule 9)."""
        error = exc_val
        try:
            if error is None:
                self.shutdown()
        except BaseException as exc:
            error = exc
            raise
        finally:
            if error is not None:
                self._abandon(error)
            del error, exc_val, exc_tb

    def _abandon(self, error: BaseException) -> None:
        self.stop(f"its executor was left by {type(error).__name__}")
        try:
            self._pool.wait()
        finally:
            level = logging.INFO if isinstance(error, KeyboardInterrupt) else logging.WARNING
            left = [call for call in all_running() if call.owner is self._pool]
            log_left_behind(self._pool, left, level)


own_submits: Final[set[object]] = {StoppableExecutor.submit}
"""Implementations of ``submit`` that a map need not go through."""


def _close(pool: Pool, _: object) -> None:
    pool.close()


@final
class ExecutorOptions:
    """An executor whose calls have options of their own; see its ``options``."""

    def __init__(self, executor: StoppableExecutor, timeout: float | None) -> None:
        self._executor = executor
        self._timeout = timeout

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call of a function, as the executor's ``submit`` does.

        Args:
            fn: The function.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            The future of its result.

        Raises:
            RuntimeError: The executor was shut down, or the interpreter ends, or the initializer
                has failed; or the system gives no thread for the clock.
        """
        executor = self._executor
        pool = executor._pool
        pool.check_open()
        call = executor._make_call(pool, fn, args, kwargs)
        if self._timeout is not None:
            deadlines.ensure_clock()
            call.timeout = self._timeout
        pool.add(call.future, call)
        return call.future
