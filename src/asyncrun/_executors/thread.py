"""The `concurrent.futures` face of threads: `ThreadPoolExecutor`.

Rule of this module: the standard library's executor is its base class, so that it passes for one
where a program or a library looks, down to the private attributes that monitors read.
"""

from __future__ import annotations

from concurrent import futures
from concurrent.futures.thread import BrokenThreadPool
from functools import partial
from typing import TYPE_CHECKING, Final

from .._core.checks import check_count, check_seconds
from .call import FutureCall
from .executor import StoppableExecutor
from .maps.work_item import ThreadMapItem
from .pool.threads import Pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")

BROKEN: Final = "A thread initializer failed, the thread pool is not usable anymore"


class ThreadPoolExecutor(StoppableExecutor, futures.ThreadPoolExecutor):
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
        super().__init__(max_workers, thread_name_prefix)
        check_count("max_workers", max_workers)
        check_seconds("grace", grace)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        name = str(self._thread_name_prefix)
        pool = Pool(
            f"<ThreadPoolExecutor {name!r}>",
            prefix=name,
            size=self._max_workers,
            grace=grace,
            initialize=None if initializer is None else partial(initializer, *initargs),
            make_broken_error=partial(BrokenThreadPool, BROKEN),
        )
        self._open(pool, FutureCall, ThreadMapItem)
        del self._idle_semaphore  # nobody counts with it
        # Private, but there are monitors that count them.
        self._threads = pool.all_threads
        self._work_queue = pool.queue  # type: ignore[assignment]
