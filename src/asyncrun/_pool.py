"""Threads that take work from one queue: what an `Executor` is made of.

Rules of this room:

- Threads come when there is work and nobody idles, up to a number; they are daemons, and end when
  the pool is closed or the process ends.
- Work is listed in ``waiting`` before it is queued, and leaves that list when it begins; who adds
  it then looks whether the pool is closed, and who closes it then looks what waits. So nothing is
  left in a queue that nobody reads. No lock is held meanwhile, so a signal may come at any moment.
- At its end a pool is waited for as long as it has work. A call that was asked to stop is waited
  for no longer than ``grace`` seconds, and only if it is likely to notice (DESIGN.md, 9).
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import weakref
from abc import ABC, abstractmethod
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, final

from ._calls import register
from ._errors import ShutDownError, WrongStateError
from ._stop import StopToken, by_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._calls import Running


pools: Final[weakref.WeakSet[Pool]] = weakref.WeakSet()
exiting: Final = threading.Event()
"""Whether the interpreter ends, and no pool takes more work."""


class Work(ABC):
    """Something that a thread of a pool is to do.

    Attributes:
        token: The stop flag of what it runs, once it runs.
    """

    __slots__ = ()

    token: StopToken

    @abstractmethod
    def run(self) -> None:
        """Do it, in the pool's thread."""
        ...

    @abstractmethod
    def withdraw(self) -> None:
        """See to it that what has not begun never does; from any thread."""
        ...

    @abstractmethod
    def stop(self, reason: str | None) -> None:
        """Ask what has begun to stop; from any thread."""
        ...

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Give up what has not begun, for the pool cannot do it."""
        ...

    @abstractmethod
    def running(self) -> list[Running]:
        """Give the calls that run, but for those that are registered in another way."""
        ...


@final
class Pool:
    """Threads, and the work for them.

    Args:
        name: For messages.
        prefix: Of the threads' names.
        size: How many threads there may be.
        grace: Seconds to wait for calls that were asked to stop.
        initialize: What each thread does first, if anything.

    Attributes:
        queue: Work for whoever is free; a None only wakes whoever takes it.
        waiting: What has not begun, in its order, by what stands for it.
        threads: The threads that there are.
        closed: Whether it takes no more work.
        stopped: Whether what it has is to be stopped.
        link: What closes the pool when its user is gone.
    """

    queue: SimpleQueue[Work | None]
    waiting: dict[object, Work]
    threads: set[threading.Thread]
    closed: bool
    stopped: bool
    link: object

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        size: int,
        grace: float,
        initialize: Callable[[], object] | None,
    ) -> None:
        self._name = name
        self._prefix = prefix
        self.size: int = size
        self.grace: float = grace
        self._initialize = initialize
        self.closed = self.stopped = False
        self._is_broken = False
        self._is_given_up = False
        self._reason: str | None = None
        self.forget()
        register(self)
        pools.add(self)

    def __repr__(self) -> str:
        return self._name

    def forget(self) -> None:
        """Begin with nothing: as after a fork, when the threads are in another process."""
        self.queue = SimpleQueue()
        self.waiting = {}
        self.threads = set()
        self._idle: dict[int, None] = {}
        self._wakers: dict[threading.Lock, None] = {}
        self._numbers = itertools.count()
        self._returned: list[int] = []

    def check_open(self) -> None:
        """Refuse further work.

        Raises:
            ShutDownError: It takes none (a `RuntimeError`).
            BrokenThreadPool: Its initializer has failed (a `RuntimeError`).
        """
        if self._is_broken:
            raise _broken()
        if self.closed:
            what = f"was stopped: {self._reason}" if self._reason else "was shut down"
            raise ShutDownError(self, what)
        if exiting.is_set():
            raise ShutDownError(self, "ends with the interpreter", "interpreter shutdown")

    def add(self, key: object, work: Work) -> None:
        """Have some work done.

        Args:
            key: What stands for it.
            work: The work.

        Raises:
            ShutDownError: It was closed meanwhile (a `RuntimeError`).
            BrokenThreadPool: Its initializer has failed meanwhile (a `RuntimeError`).
            RuntimeError: It has no thread, and the system gives it none.
        """
        self.waiting[key] = work
        self.queue.put(work)
        try:
            self.hire()
        except RuntimeError:  # the system gives none
            if not self.threads:  # else one of these will get to it
                self.waiting.pop(key, None)
                work.withdraw()
                raise
        if (self.closed or self._is_broken) and self.waiting.pop(key, None) is not None:
            work.withdraw()
            self.check_open()

    def hire(self) -> None:
        """Start a thread if there is more work than threads that wait for it."""
        # Who adds work looks who is idle; who is idle no longer looks for work.
        if not self.waiting or self.queue.qsize() <= len(self._idle):
            return
        if (number := self._number()) is None:
            return
        name = f"{self._prefix}_{number}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.threads.add(thread)
        try:
            thread.start()
        except BaseException:  # the system gives none, or a KeyboardInterrupt has come
            if thread.ident is None:
                self.threads.discard(thread)
                self._returned.append(number)
            raise

    def _number(self) -> int | None:
        if len(self.threads) >= self.size:
            return None
        with suppress(IndexError):
            return self._returned.pop()
        number = next(self._numbers)
        return number if number < self.size else None

    def _work(self) -> None:
        # A daemon's frames are never cleaned up, so what they hold is never closed. Were a stream
        # closed at exit while a call holds its lock, CPython would abort.
        _pinned = sys.stdin, sys.stdout, sys.stderr
        thread = threading.current_thread()
        self.threads.add(thread)
        try:
            if self._initialize is None or self._is_initialized(_Initialization(self._initialize)):
                while (work := self._next()) is not None:
                    self._do(work)
                    del work  # it is not to be kept while this waits for more
        finally:
            self.threads.discard(thread)
            self.wake()

    def _next(self) -> Work | None:
        """Wait for work; give None when there will be no more."""
        ident = threading.get_ident()
        while True:
            self._idle[ident] = None
            work = self.queue.get()
            self._idle.pop(ident, None)
            if work is not None:
                if len(self.threads) < self.size:
                    with suppress(RuntimeError):  # then it is done later
                        self.hire()
                return work
            if self.closed:
                self.queue.put(None)
                if not self.waiting:  # else it is behind the None
                    return None

    def _do(self, work: Work) -> None:
        try:
            work.run()
        except BaseException:  # noqa: ASYNC103 - the thread is to go on
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").critical("%r: an error in a worker", self, exc_info=True)
        finally:
            by_thread.pop(threading.get_ident(), None)
            if self._wakers:
                self.wake()

    def _is_initialized(self, work: _Initialization) -> bool:
        self._do(work)
        if work.has_failed:
            self._is_broken = True
            while self.waiting:
                with suppress(KeyError):  # somebody else was faster
                    _, waiting = self.waiting.popitem()
                    waiting.fail(_broken())
        return not work.has_failed

    def close(self) -> None:
        """Take no more work, and let the threads end when all of it is done."""
        self.closed = True
        self.queue.put(None)  # each that ends passes it on

    def withdraw(self) -> None:
        """Drop what has not begun."""
        for work in [*self.waiting.values(), *self._at_work()]:
            work.withdraw()
        self.wake()

    def stop(self, reason: str | None) -> None:
        """Close the pool, drop what has not begun, and ask what runs to stop.

        Args:
            reason: Why.
        """
        if not self.stopped:
            self._reason = reason
        self.stopped = self.closed = True
        self.withdraw()
        for work in self._at_work():
            work.stop(self._reason)
        self.close()
        self.wake()

    def look(self, work: Work) -> None:
        """Be told by some work that it begins, so that a stop does not miss it."""
        if self.stopped:
            work.stop(self._reason)

    def wait(self, *, pending: bool = True) -> None:
        """Wait until every thread has ended, or is stuck.

        Args:
            pending: Whether also to wait for work that no thread is free for.

        Raises:
            WrongStateError: This is a thread of the pool (a `RuntimeError`).
        """
        threads = list(self.threads)
        if threading.current_thread() in threads:
            cure = "a call of its own cannot wait for that, use shutdown(wait=False)"
            raise WrongStateError(self, "ends when its calls have ended", cure)
        self._wait_while(lambda: self._is_busy(pending=pending), None)
        if not self._is_given_up:
            self._wait_while(self._is_ending, time.monotonic() + self.grace)
            self._is_given_up = True
        for thread in threads:
            if thread not in self.threads:
                thread.join()  # it is about to

    def wake(self) -> None:
        """Let those who wait for the end look again; from any thread."""
        for waker in list(self._wakers):
            with suppress(RuntimeError):  # somebody else has
                waker.release()

    def running(self) -> list[Running]:
        """See `Several.running`."""
        return [call for work in self._at_work() for call in work.running()]

    def _wait_while(self, busy: Callable[[], bool], deadline: float | None) -> None:
        waker = threading.Lock()
        waker.acquire()
        self._wakers[waker] = None
        try:
            while busy():
                left = -1.0 if deadline is None else deadline - time.monotonic()
                if deadline is not None and left <= 0:
                    return
                waker.acquire(timeout=min(left, threading.TIMEOUT_MAX))
        finally:
            del self._wakers[waker]

    def _is_busy(self, *, pending: bool) -> bool:
        tokens = [_token_of(thread) for thread in list(self.threads)]
        if any(token is None or not token._set for token in tokens):
            return True
        return pending and bool(self.waiting)

    def _is_ending(self) -> bool:
        tokens = [_token_of(thread) for thread in list(self.threads)]
        return any(token is None or token._heeds() for token in tokens)

    def _at_work(self) -> list[Work]:
        holders = [by_thread.get(thread.ident or 0) for thread in list(self.threads)]
        return [work for work in holders if isinstance(work, Work)]


def _token_of(thread: threading.Thread) -> StopToken | None:
    holder = by_thread.get(thread.ident or 0)
    return None if holder is None else holder.token


@final
class _Initialization(Work):
    """What a thread does first."""

    __slots__ = ("_func", "has_failed", "token")

    def __init__(self, func: Callable[[], object]) -> None:
        self._func = func
        self.token = StopToken()
        self.has_failed = True

    def run(self) -> None:
        by_thread[threading.get_ident()] = self
        try:
            self._func()
        except BaseException:  # noqa: ASYNC103 - whatever it is, the pool cannot be used
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").critical("a thread's initializer failed", exc_info=True)
        else:
            self.has_failed = False

    def withdraw(self) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def stop(self, reason: str | None) -> None:
        self.token._stop(reason)

    def running(self) -> list[Running]:
        return []


def _broken() -> Exception:
    from concurrent.futures.thread import BrokenThreadPool  # noqa: PLC0415

    return BrokenThreadPool("a thread's initializer failed, the thread pool is not usable anymore")
