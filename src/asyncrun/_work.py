"""What a worker is given to do: one call, or a batch of items that are called one by one.

Rules of this room (DESIGN.md, 7 and 8):

- Worker and waiter of a call meet at two points, each decided by one atomic claim, so that a
  cancellation may come at any moment: does the call begin at all, or is it dropped? Who is the
  last to leave it, and so gives its slot back?
- An item of a batch is claimed by being taken out of `Batch.busy`: by the worker that has its
  outcome, or by whoever does not wait for that any longer.
- Where calls run is the business of a `Worker`; this room knows only the protocol.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, final

from ._calls import function_name, invoke, log_late, running
from ._stop import StopSource, current

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._stop import StopToken

T = TypeVar("T")


class Stay(Generic[T]):
    """The time that a worker's slot is taken; a worker's side and a waiter's side claim its ends.

    The worker calls `begin` first and `end` last; the waiter calls `leave` when it stops waiting,
    with the result or without. Of `end` and `leave`, the one that comes second finds the stay
    over, and must give the slot back.
    """

    __slots__ = ("_begun", "_over")

    _begun: threading.Lock
    _over: threading.Lock

    def served(self) -> Batch[Any] | None:
        """Give the batch that it takes its items from, if it is not for one call."""
        return None

    def begin(self) -> bool:
        """Tell the worker whether to run at all; it does not if the waiter has left."""
        return self._begun.acquire(blocking=False)

    def run(self) -> T:
        """Do what the slot was taken for, in the worker, and give the result."""
        raise NotImplementedError

    def end(
        self,
        error: BaseException | None = None,  # noqa: ARG002 - of interest to a call
        *,
        expected: tuple[type[BaseException], ...] = (),  # noqa: ARG002
    ) -> bool:
        """Note that the worker is done.

        Args:
            error: What `run` raised, if anything.
            expected: What it may raise when it is abandoned, apart from `Stopped`.

        Returns:
            Whether the waiter has left before.
        """
        return not self._over.acquire(blocking=False)

    def leave(self, error: BaseException | None = None) -> bool:  # noqa: ARG002
        """Note that the waiter is done.

        Args:
            error: What it got in place of a result, if anything.

        Returns:
            Whether the stay is over. If not, the worker is abandoned.
        """
        return self._begun.acquire(blocking=False) or not self._over.acquire(blocking=False)


@final
class Call(Stay[T]):
    """One blocking call."""

    __slots__ = (
        "args",
        "error",
        "func",
        "function",
        "name",
        "owner",
        "source",
        "started",
        "thread",
    )

    def __init__(
        self,
        func: Callable[..., T],
        args: tuple[object, ...],
        *,
        name: str | None = None,
        owner: object = None,
        follow: StopToken | None = None,
    ) -> None:
        self.func: Callable[..., T] = func
        self.args: tuple[object, ...] = args
        self.function: str = function_name(func)
        self.name: str = self.function if name is None else name
        self.owner: object = owner
        self.source: StopSource = StopSource() if follow is None else StopSource(follow)
        self.started: float = 0.0
        self.thread: int = 0
        self.error: BaseException | None = None
        self._begun: threading.Lock = threading.Lock()
        self._over: threading.Lock = threading.Lock()

    def begin(self) -> bool:
        """See `Stay.begin`."""
        if not self._begun.acquire(blocking=False):
            return False
        self.thread = threading.get_ident()
        self.started = time.monotonic()
        running[self] = None
        return True

    def run(self) -> T:
        """See `Stay.run`."""
        current.set(self.source.token)
        return invoke(self)

    def end(
        self,
        error: BaseException | None = None,
        *,
        expected: tuple[type[BaseException], ...] = (),
    ) -> bool:
        """See `Stay.end`."""
        self.error = error
        if self._over.acquire(blocking=False):
            running.pop(self, None)  # unless `leave` was faster
            return False
        try:
            self._log_late(expected)
        finally:
            del running[self]
        return True

    def leave(self, error: BaseException | None = None) -> bool:
        """See `Stay.leave`; a call that is abandoned is asked to stop."""
        if self._begun.acquire(blocking=False):
            return True
        if self._over.acquire(blocking=False):
            self.source.stop("its caller was cancelled")
            return False
        running.pop(self, None)  # `end` is about to: what is over must not be reported
        seen = error is not None and self.error is error.__cause__  # asyncio wraps StopIteration
        if self.error is not error and not seen:
            self._log_late()  # it ended just as its waiter was cancelled: nobody saw the error
        self.error = None  # its traceback holds a frame that holds this call
        return True

    def heeds(self) -> bool:
        """Tell whether the call is likely to end soon after it was asked to stop."""
        return self.source.token._heeds()  # noqa: SLF001 - looking at it must not count as a look

    def _log_late(self, expected: tuple[type[BaseException], ...] = ()) -> None:
        error, self.error = self.error, None
        if error is not None:
            log_late(self.name, error, expected)


@final
class Item(Generic[T]):
    """One item of a batch, and the call for it."""

    __slots__ = (
        "args",
        "batch",
        "error",
        "func",
        "index",
        "result",
        "settled",
        "source",
        "started",
        "thread",
    )

    result: T
    source: StopSource
    started: float
    thread: int

    def __init__(self, batch: Batch[T], index: int, args: tuple[object, ...]) -> None:
        self.batch: Batch[T] = batch
        self.func: Callable[..., T] = batch.func
        self.args: tuple[object, ...] = args
        self.index: int = index
        self.error: BaseException | None = None
        self.settled: bool = False

    @property
    def name(self) -> str:
        """See `Running.name`."""
        return self.batch.function

    @property
    def function(self) -> str:
        """See `Running.function`."""
        return self.batch.function

    @property
    def owner(self) -> object:
        """See `Running.owner`."""
        return self.batch.owner

    def heeds(self) -> bool:
        """See `Running.heeds`."""
        return not self.batch.given_up and self.source.token._heeds()  # noqa: SLF001


class Server(Stay[None]):
    """The stay of a worker that takes item after item of a batch.

    Args:
        batch: The batch.

    Attributes:
        batch: The batch.
        started: How many items it has begun.
        done: How many of them have an outcome.
        failed: For how many of those it is an error.
    """

    __slots__ = ("batch", "done", "failed", "started")

    batch: Batch[Any]
    started: int
    done: int
    failed: int

    def __init__(self, batch: Batch[Any]) -> None:
        self.batch = batch
        self.started = self.done = self.failed = 0
        self._begun: threading.Lock = threading.Lock()
        self._over: threading.Lock = threading.Lock()

    def served(self) -> Batch[Any]:
        """See `Stay.served`."""
        return self.batch


GONE: Final = object()


class Batch(Generic[T]):
    """Items that are called one by one, in any number of slots.

    Args:
        func: What is called with each of them.
        owner: The runner that they belong to.
        settle: Is told of each item that has an outcome, in any thread.

    Attributes:
        pending: What waits; a None only wakes whoever takes it.
        busy: What runs, and is waited for.
        stuck: What runs, but is not waited for any longer.
        servers: The stays of workers that serve this batch; only for the event loop's thread.
        closed: Whether no further item may begin.
        given_up: Whether nobody waits any longer, even for what is likely to end soon.
    """

    pending: SimpleQueue[Item[T] | None]
    busy: dict[Item[T], None]
    stuck: dict[Item[T], None]
    servers: list[Server]
    closed: bool
    given_up: bool

    def __init__(
        self, func: Callable[..., T], *, owner: object, settle: Callable[[Item[T]], None]
    ) -> None:
        self.func: Callable[..., T] = func
        self.function: str = function_name(func)
        self.owner: object = owner
        self.settle: Callable[[Item[T]], None] = settle
        self.pending = SimpleQueue()
        self.busy = {}
        self.stuck = {}
        self.servers = []
        self.closed = False
        self.given_up = False
        self._past = Server(self)

    def close(self, reason: str | None) -> None:
        """Let nothing more begin, and ask what runs to stop; from any thread or handler."""
        self.closed = True
        for item in list(self.busy):
            item.source.stop(reason)

    def abandon(self, item: Item[T]) -> bool:
        """Stop waiting for an item that runs; tell whether it still did."""
        self.stuck[item] = None  # first, so that it is always in one of the two
        if self.busy.pop(item, GONE) is GONE:
            del self.stuck[item]
            return False
        return True

    def expire(self, item: Item[T], reason: str) -> bool:
        """Abandon an item, ask it to stop, and count it as failed; tell whether it still ran."""
        if not self.abandon(item):
            return False
        item.source.stop(reason)
        self._past.done += 1
        self._past.failed += 1
        return True

    def drop_pending(self) -> None:
        """Forget what waits."""
        try:
            while True:
                self.pending.get_nowait()
        except Empty:
            pass

    def retire(self, server: Server) -> None:
        """Note that a server has left, and keep its counts."""
        self.servers.remove(server)
        self._past.started += server.started
        self._past.done += server.done
        self._past.failed += server.failed

    def idle(self) -> int:
        """Tell how many servers have nothing to do."""
        return len(self.servers) - len(self.busy) - len(self.stuck)

    def counts(self) -> tuple[int, int, int]:
        """Tell how many items were started, are done, and have failed."""
        servers = [self._past, *self.servers]
        return (
            sum(server.started for server in servers),
            sum(server.done for server in servers),
            sum(server.failed for server in servers),
        )


class Worker(Protocol):
    """A place where calls run: threads today; whatever else can begin, flag and end a call."""

    @property
    def capacity(self) -> int:
        """How many slots it has."""
        ...

    async def run(self, call: Call[T]) -> T:
        """Run a call and return its result.

        When cancelled it must leave the call at once and give back the slot when the call has
        really ended. Whenever a call that was left ends, it wakes the runner.

        On cancel: the call is left running and is asked to stop.
        """
        ...

    async def serve(self, batch: Batch[Any], admitted: Callable[[], None]) -> None:
        """Take a slot and run items in it, until there are none or somebody else is to have it.

        When cancelled it must leave at once, and give back the slot when the item that runs in it
        has really ended.

        Args:
            batch: Where to take the items.
            admitted: To be called in the event loop's thread when the slot is taken.

        On cancel: an item is left running; to ask it to stop is the business of the batch.
        """
        ...
