"""Threads that take work from one queue: what the executors are made of.

Rules of this module:

- A thread is started when there is work and no thread idles, up to a number. Threads are daemons,
  and end when the pool is closed or the process ends.
- To add a work item: list it in ``waiting``, queue it, then read ``closed``.
  To close: set ``closed``, then read ``waiting``. Therefore no item is left in a queue that no
  thread reads. No lock is held meanwhile, so a signal may come at any moment.
- States, from top to bottom. Each flag is set once and never reset, so none needs a lock.
  open      no flag           work is taken and done
  closed    `closed`          no more is taken; what was taken is done
  broken    `_is_broken`      the same, and what has not begun fails with an error
  stopped   `stopped`         what has not begun is dropped, what runs is asked to stop
  abandoned `_is_abandoned`   what runs was waited for, and is waited for no more
- At its end a pool is waited for as long as it has work. A call that was asked to stop is waited
  for no longer than ``grace`` seconds, and only if it is likely to notice (rule 9).
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, final

from ..._core.batch import do_nothing
from ..._core.errors import ShutDownError, WrongStateError
from ..._core.registry import register
from .wakers import Wakers
from .work_item import Initialization, WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..._core.registry import RunningCall
    from ..._core.stop import StopToken


_pools: Final[set[weakref.ref[Pool]]] = set()
interpreter_exiting: Final = threading.Event()
"""Whether the interpreter ends, and no pool takes more work."""


@final
class SnapshotSet(set[threading.Thread]):
    """A set that may grow while others iterate over it, as they do over `ThreadPoolExecutor`'s."""

    def __iter__(self) -> Iterator[threading.Thread]:
        return iter(tuple(super().__iter__()))


@final
class Pool:
    """Threads, and the work for them.

    Args:
        name: For messages.
        prefix: Of the threads' names.
        size: How many threads there may be.
        grace: Seconds to wait for calls that were asked to stop.
        initialize: What each thread does first, if anything.
        make_broken_error: Makes the error of a pool whose initializer has failed.

    Attributes:
        queue: Job for whoever is free; a None only wakes whoever takes it.
        waiting: What has not begun, in its order, by what stands for it.
        wake: Has the waiters for the end look again; from any thread or handler.
        threads: The threads that there are.
        all_threads: The same, and those that have ended.
        closed: Whether it takes no more work.
        stopped: Whether what it has is to be stopped; work that begins looks, and stops itself.
        reason: Why.
        owner_ref: A weak reference to the executor, which closes the pool when that is gone.
        on_thread_end: What each thread does last, with this pool.
        on_fork: What a forked child does, before it begins with nothing.
    """

    __slots__ = ("__weakref__", "_active", "_ended", "_idle", "_initialize", "_is_abandoned",
                 "_is_broken", "_make_broken_error", "_name", "_numbers", "_prefix",
                 "_starting", "_wakers", "all_threads", "closed", "grace", "on_fork",
                 "on_thread_end", "owner_ref", "queue", "reason", "size", "stopped", "threads",
                 "waiting", "wake")  # fmt: skip

    queue: SimpleQueue[WorkItem | None]
    waiting: dict[object, WorkItem]
    wake: Callable[[], None]
    threads: set[threading.Thread]
    all_threads: set[threading.Thread]
    closed: bool
    stopped: bool
    reason: str | None
    owner_ref: Callable[[], Any]
    on_thread_end: Callable[[Pool], object]
    on_fork: Callable[[], object]

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        size: int,
        grace: float,
        initialize: Callable[[], object] | None,
        make_broken_error: Callable[[], Exception],
    ) -> None:
        self._name = name
        self._prefix = prefix
        self.size: int = size
        self.grace: float = grace
        self._initialize = initialize
        self._make_broken_error = make_broken_error
        self.owner_ref = self.on_fork = do_nothing
        self.on_thread_end = lambda _: None
        self.closed = self.stopped = False
        self._is_broken = False
        self._is_abandoned = False
        self.reason = None
        self.reset_after_fork()
        _pools.add(weakref.ref(self, _pools.discard))  # as `registry.register` does
        if interpreter_exiting.is_set():  # whoever sets that looks for pools afterwards
            self.closed = True

    def __repr__(self) -> str:
        return self._name

    def reset_after_fork(self) -> None:
        """Begin with nothing: as after a fork, when the threads are in another process."""
        self.on_fork()
        self.queue = SimpleQueue()
        self.waiting = {}
        self.threads = set()
        self.all_threads = SnapshotSet()
        self._idle: dict[threading.Thread, None] = {}
        self._starting: dict[threading.Thread, None] = {}
        self._ended: list[threading.Thread] = []
        self._wakers = Wakers()
        self.wake = self._wakers.wake
        self._active: dict[threading.Thread, WorkItem] = {}
        self._numbers = itertools.count()
        register(self)

    def check_open(self) -> None:
        """Refuse further work.

        Raises:
            ShutDownError: It takes none (a `RuntimeError`).
            BrokenExecutor: Its initializer has failed (a `RuntimeError`).
        """
        if not self.closed:
            return
        if self._is_broken:
            raise self._make_broken_error()
        if interpreter_exiting.is_set():
            raise ShutDownError(self, "ends with the interpreter", "interpreter shutdown")
        what = f"was stopped: {self.reason}" if self.reason else "was shut down"
        raise ShutDownError(self, what)

    def add(self, key: object, item: WorkItem) -> None:
        """Add something to be done.

        Args:
            key: What stands for it.
            item: What to do.

        Raises:
            ShutDownError: It was closed meanwhile (a `RuntimeError`).
            BrokenExecutor: Its initializer has failed meanwhile (a `RuntimeError`).
            RuntimeError: It has no thread, and the system gives it none.
        """
        try:
            self.waiting[key] = item
            self.queue.put(item)
            if len(self.threads) < self.size:
                self._start_thread_if_needed()
        except BaseException as exc:  # noqa: ASYNC103 - it may be a KeyboardInterrupt
            # Where the system gives no thread, one that there is will get to it.
            if not (isinstance(exc, RuntimeError) and self.threads):
                self._take_back(key, item)
                raise
        if self.closed and self.waiting.get(key) is not None:
            self._take_back(key, item)
            self.check_open()

    def add_late(self, item: WorkItem) -> None:
        """Add something that belongs to what runs, in the thread of that; the pool may be closed.

        Args:
            item: What to do.
        """
        self.waiting[item] = item
        self.queue.put(item)
        with suppress(RuntimeError):  # the system gives no thread: this one will get to it
            self._start_thread_if_needed()

    def _take_back(self, key: object, item: WorkItem) -> None:
        item.cancel_pending()
        self.waiting.pop(key, None)
        self.wake()

    def _start_thread_if_needed(self) -> None:
        """Start a thread if there is more work than threads that wait for it, or will soon."""
        # `add`: queue the item, then read `_idle`. A thread: leave `_idle`, then read the queue.
        coming = self.starting()
        if self.queue.qsize() <= len(self._idle) + len(coming):
            return
        if len(self.threads.union(coming)) >= self.size:
            return
        thread = threading.Thread(target=self._thread_main, name=self._prefix, daemon=True)
        self._starting[thread] = None
        try:
            thread.start()
        except RuntimeError:  # the system gives none
            self._starting.pop(thread, None)
            raise

    def starting(self) -> list[threading.Thread]:
        """Return the threads that were started and have not asked for work yet."""
        # Where a KeyboardInterrupt has come before it was started, a thread has no identity.
        return [thread for thread in list(self._starting) if thread.ident is not None]

    def _thread_main(self) -> None:
        # A daemon's frames are never cleaned up, so what they hold is never closed. Were a stream
        # closed at exit while a call holds its lock, CPython would abort.
        _pinned = sys.stdin, sys.stdout, sys.stderr
        thread = threading.current_thread()
        # It is counted here, where no KeyboardInterrupt comes; two that add may start one too many.
        if (number := next(self._numbers)) < self.size:
            thread.name = f"{self._prefix}_{number}"
            self.threads.add(thread)
            self.all_threads.add(thread)
        try:
            if thread in self.threads and self._is_initialized(thread):
                while (item := self._next(thread)) is not None:
                    self._run_item(item, thread)
                    del item  # it is not to be kept while this waits for more
        finally:
            self._ended.append(thread)
            self.threads.discard(thread)
            self._starting.pop(thread, None)
            self.wake()
            self.on_thread_end(self)

    def _run_item(self, item: WorkItem, thread: threading.Thread) -> None:
        self._active[thread] = item
        if self.stopped:  # `stop`: set it, then read `_active`
            item.cancel_pending()
            item.stop(self.reason)
            self.wake()
        try:
            item.run()
        except BaseException:  # noqa: ASYNC103 - the thread is to go on
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").critical("%r: an error in a worker", self, exc_info=True)
        finally:
            del item, self._active[thread]  # the traceback of an error may hold this frame
            self.wake()

    def _next(self, thread: threading.Thread) -> WorkItem | None:
        """Wait for work; give None when there will be no more."""
        while (item := self._take(thread)) is None:
            self.queue.put(None)
            if not self.waiting:  # else something was added late, and is in the queue behind
                return None
        if self._starting:
            self._starting.pop(thread, None)
        if len(self.threads) < self.size:
            with suppress(RuntimeError):  # then it is done later
                self._start_thread_if_needed()
        return item

    def _take(self, thread: threading.Thread) -> WorkItem | None:
        try:
            return self.queue.get_nowait()
        except Empty:  # suppress() is slow
            pass
        self._idle[thread] = None
        self._starting.pop(thread, None)
        try:
            return self.queue.get()
        finally:
            self._idle.pop(thread, None)

    def _is_initialized(self, thread: threading.Thread) -> bool:
        if self._initialize is None:
            return True
        item = Initialization(self._initialize)
        self._run_item(item, thread)
        if item.has_failed:
            self.break_down()
        return not item.has_failed

    def break_down(self) -> None:
        """Take no more work, and fail what has not begun, for the initializer has failed."""
        self._is_broken = self.closed = True
        if (executor := self.owner_ref()) is not None:
            executor._broken = str(self._make_broken_error())
        with suppress(Empty):
            while True:
                if (waiting := self.queue.get_nowait()) is not None:
                    waiting.fail(self._make_broken_error())
        self.queue.put(None)

    def close(self) -> None:
        """Take no more work, and let the threads end when all of it is done."""
        self.closed = True
        self.queue.put(None)  # each that ends passes it on

    def cancel_pending(self) -> None:
        """Drop what has not begun."""
        for item in [*self.waiting.values(), *self._active.values()]:
            item.cancel_pending()
        self.wake()

    def stop(self, reason: str | None) -> None:
        """Close the pool, drop what has not begun, and ask what runs to stop.

        Args:
            reason: Why.
        """
        if not self.stopped:
            self.reason = reason
        self.stopped = self.closed = True
        self.cancel_pending()
        for item in list(self._active.values()):
            item.stop(self.reason)
        self.close()
        self.wake()

    def wait(self, *, pending: bool = True, check: Callable[[], object] = do_nothing) -> None:
        """Wait until every thread has ended, or is stuck.

        Args:
            pending: Whether also to wait for work that no thread is free for.
            check: Ends the wait if it raises; it is called again after each `wake`.

        Raises:
            WrongStateError: This is a thread of the pool (a `RuntimeError`).
        """
        if threading.current_thread() in self.threads:
            hint = "a call of its own cannot wait for that, use shutdown(wait=False)"
            raise WrongStateError(self, "ends when its calls have ended", hint)
        while True:
            self._wakers.wait_while(lambda: self._is_busy(pending=pending), None, check)
            if not self._is_abandoned:
                self._wakers.wait_while(self._is_ending, time.monotonic() + self.grace, check)
            if not self._is_busy(pending=pending):  # what has ended may have made room for more
                break
        self._is_abandoned = True
        for thread in list(self._ended):
            thread.join()  # it is about to

    def count_busy(self, deadline: float) -> int:
        """Wait while a thread runs a call that was not asked to stop.

        Args:
            deadline: When to wait no longer, by `time.monotonic`.

        Returns:
            How many threads still run such a call.
        """
        self._wakers.wait_while(lambda: self._is_busy(pending=False), deadline)
        return sum(token is None or not token._set for token in self._active_tokens(self.threads))

    def is_busy(self) -> bool:
        """See `CallSource.is_busy`."""
        return bool(self._active)

    def running_calls(self) -> list[RunningCall]:
        """See `CallSource.running_calls`."""
        return [call for item in list(self._active.values()) for call in item.running_calls()]

    def _is_busy(self, *, pending: bool) -> bool:
        waits = bool(self.waiting)  # first: what begins after this has a thread
        tokens = self._active_tokens(self.threads.union(self.starting()))
        if any(token is None or not token._set for token in tokens):
            return True
        return pending and waits

    def _is_ending(self) -> bool:
        active = [self._active.get(thread) for thread in list(self.threads)]
        return any(item is None or item.is_ending() for item in active)

    def _active_tokens(self, threads: set[threading.Thread]) -> list[StopToken | None]:
        return [getattr(self._active.get(thread), "token", None) for thread in list(threads)]


def pools() -> list[Pool]:
    """Return all pools that there are."""
    return [pool for link in list(_pools) if (pool := link()) is not None]
