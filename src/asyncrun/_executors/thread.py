"""The `concurrent.futures` face: `Executor`.

Rules of this module:

- What `concurrent.futures` documents of an executor holds, to the messages that programs look for.
- Leaving the block by an error asks everything to stop; a KeyboardInterrupt is as quiet about what
  is left behind as Python is.
- How calls run is the business of `pool` and `futures`.
"""

from __future__ import annotations

import itertools
import logging
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Final, TypeVar

from .._core.checks import check_count, check_seconds
from .._core.errors import WrongFunctionError
from .._core.registry import all_running, snapshot
from .._core.report import log_left_behind
from .at_exit import install_exit_hook
from .call import FutureCall
from .maps.iterator import MapIterator
from .maps.submitted import Submitted
from .pool.threads import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType
    from typing import ParamSpec, TypeVarTuple

    from .._core.registry import CallInfo

    P = ParamSpec("P")
    ArgsT = TypeVarTuple("ArgsT")

T = TypeVar("T")

_count: Final = itertools.count()

install_exit_hook()


class Executor(ThreadPoolExecutor):
    """A `concurrent.futures.ThreadPoolExecutor` whose calls can be stopped.

    It takes that one's place by a change of the import, in synchronous programs and as asyncio's
    executor (`asyncio.loop.set_default_executor`, `asyncio.loop.run_in_executor`). In addition:

    - `safe_point`, `stop_token` and context variables work in each call.
    - ``Future.cancel()`` on a call that runs, and the cancellation of a task that awaits it, ask
      the call to stop.
    - Leaving the ``with`` block by an exception, a KeyboardInterrupt above all, stops everything
      and waits up to ``grace`` seconds for those calls that have passed a safe point before or
      hold an `StopToken.on_stop` callback; leaving it normally waits for everything, as ever.
    - Threads are daemons: what is stuck does not hold up the exit. A normal exit of the program
      finishes the work first, one by a KeyboardInterrupt does not. A program that catches the
      KeyboardInterrupt and exits, as under click, exits normally: use the ``with`` block there. On
      a terminal such an exit says after a second what it waits for, and Ctrl-C ends it at once.

    Args:
        max_workers: How many threads there may be, at least 1; None means what it means there: 4
            more than this process has cores, at most 32.
        thread_name_prefix: What the names of its threads begin with.
        initializer: What each thread calls first, if anything. If it fails, the executor is
            broken: what waits fails, and further calls are refused, with
            `concurrent.futures.thread.BrokenThreadPool`.
        initargs: Its positional arguments.
        grace: Seconds, at least 0, that the end waits for calls which were asked to stop and are
            likely to notice.

    Raises:
        ValueError: ``max_workers`` or ``grace`` is out of its range.
        TypeError: ``initializer`` is not callable.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[[*ArgsT], object] | None = None,
        initargs: tuple[*ArgsT] = (),  # type: ignore[assignment]
        *,
        grace: float = 2.0,
    ) -> None:
        check_count("max_workers", max_workers)
        check_seconds("grace", grace)
        if initializer is not None and not callable(initializer):
            raise WrongFunctionError("Executor()", "an initializer that is callable", initializer)
        prefix = thread_name_prefix or f"Executor-{next(_count)}"
        super().__init__(max_workers, prefix)
        self._pool = Pool(
            f"<Executor {prefix!r}>",
            prefix=prefix,
            size=self._max_workers,
            grace=grace,
            initialize=None if initializer is None else partial(initializer, *initargs),
        )
        # What lives on without it ends when its work is done.
        self._pool.owner_ref = weakref.ref(self, partial(_close, self._pool))
        del self._idle_semaphore  # nobody counts with it
        # Private, but there are monitors that count them.
        self._threads = self._pool.threads
        self._work_queue = self._pool.queue  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._pool)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call of a function in a thread.

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
        call = FutureCall(pool, fn, args, kwargs)
        pool.add(call.future, call)
        return call.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[object],
        timeout: float | None = None,
        chunksize: int = 1,  # noqa: ARG002 - as `ThreadPoolExecutor` does
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Call a function with each item, in several threads at once.

        It does what ``map(fn, *iterables)`` does, but all items begin as soon as there are
        threads for them. Closing the iterator early, also by an error of an item or a time-out,
        drops what waits and asks what runs to stop.

        Where `submit` is replaced, on a subclass, on this executor or on this class, each item
        goes through it, as in `concurrent.futures`. The results then cost as much as futures do.

        Args:
            fn: The function.
            *iterables: Where its positional arguments come from; they are read at once, in this
                thread, unless there is a ``buffersize``.
            timeout: Seconds from now that all results may take; None means no limit.
            chunksize: Has no meaning for threads.
            buffersize: How many items may be taken ahead of the results that were read, at least
                1; None means all.

        Returns:
            An iterator of the results, in the order of the items. It raises what a call has
            raised, a `TimeoutError`, or `concurrent.futures.CancelledError` for an item that was
            dropped when the executor was stopped or shut down.

        Raises:
            ValueError: ``buffersize`` is out of its range.
            RuntimeError: The executor was shut down, or the interpreter ends, or the initializer
                has failed.
        """
        check_count("buffersize", buffersize)
        submit = self.submit
        if type(submit) is not MethodType or submit.__func__ is not _own_submit:
            return Submitted(
                submit, fn, iterables, timeout=timeout, buffersize=buffersize
            ).results()
        mapped = MapIterator(
            self._pool, fn, iterables, timeout=timeout, buffersize=buffersize, owner=self
        )
        return mapped.results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no further calls, and let the threads end when all is done.

        Args:
            wait: Whether to wait for that. A call that was asked to stop is waited for up to
                ``grace`` seconds if it is likely to notice, and not at all if not.
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


_own_submit: Final = Executor.submit


def _close(pool: Pool, _: object) -> None:
    pool.close()
