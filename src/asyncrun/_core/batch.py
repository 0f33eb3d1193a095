"""A batch: items that are called one by one, in any number of slots of a worker.

Rules of this room:

- An item is claimed by being taken out of `Batch.busy`: by the worker that has its outcome, or by
  whoever does not wait for that any longer.
- Who begins an item inserts it in ``busy`` and then looks whether the batch is closed; who closes
  sets that and then looks who is busy. So nothing runs unseen.
- Millions of items pass through here: what is done for each is counted in nanoseconds.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

import anyio

from .call import Stay
from .registry import function_name, log_late, register, short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .registry import Running
    from .stop import StopToken

T = TypeVar("T")

WAITS: Final = 0
SUCCEEDED: Final = 1
FAILED: Final = 2
DROPPED: Final = 3


@final
class Item(Generic[T]):
    """One item of a batch, and the call for it.

    Args:
        batch: The batch.
        index: Its place in the input, from 0.
        arg: The item itself.

    Attributes:
        state: Whether there is an outcome: `SUCCEEDED` or `FAILED`; or none yet: `WAITS`, or ever:
            `DROPPED`.
        outcome: The result, or the error.
        token: Its stop flag; there is none before it begins.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
        pid: The worker process that it runs in; there is none in a thread.
    """

    __slots__ = ("arg", "batch", "index", "outcome", "pid", "started", "state", "thread", "token")

    state: int
    outcome: Any
    token: StopToken
    started: float
    thread: int
    pid: int

    def __init__(self, batch: Batch[T], index: int, arg: object) -> None:
        self.batch: Batch[T] = batch
        self.index: int = index
        self.arg: object = arg
        self.state = WAITS

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
        return not self.batch.given_up and self.token._heeds()

    def take_error(self) -> BaseException:
        """Give the error, with a note that names the item; once."""
        error: BaseException = self.outcome
        self.outcome = None  # its traceback may hold the item
        with suppress(Exception):  # an error may refuse to take it
            error.add_note(f"item {self.index} of the map: {short(self.arg)}")
        return error


class Server(Stay[None]):
    """The stay of a worker that takes item after item of a batch.

    Args:
        batch: The batch.

    Attributes:
        batch: The batch.
        done: For how many items it has an outcome.
        failed: For how many of those it is an error.
        unbegun: How many were abandoned and then had not even begun.
    """

    __slots__ = ("batch", "done", "failed", "unbegun")

    batch: Batch[Any]
    done: int
    failed: int
    unbegun: int

    def __init__(self, batch: Batch[Any]) -> None:
        self.batch = batch
        self.done = self.failed = self.unbegun = 0
        super().__init__()

    def peers(self) -> Sequence[Stay[Any]]:
        """See `Stay.peers`."""
        return self.batch.servers

    def share(self) -> int:
        """See `Stay.share`."""
        return len(self.batch.servers) - len(self.batch.stuck)


def do_nothing() -> None:
    """Stand in for what is to be called no more."""


GONE: Final = object()
ANY: Final = object()


@final
class Batch(Generic[T]):
    """Items that are called one by one, and the place where their outcomes meet the reader.

    Args:
        func: What is called with each of them.
        owner: The runner that they belong to.
        ordered: Whether the reader takes them in their order, and not as they have an outcome.
        kept: What kinds of error are an outcome like others, and end nothing.
        post: Calls something in the event loop's thread, from any thread.
        staff: Sees to it that there are servers, in the event loop's thread.
        expected: What an item may raise when nobody waits for it, apart from `Stopped`.

    Attributes:
        pending: What waits; a None only wakes whoever takes it.
        busy: What runs, and is waited for.
        stuck: What runs, but is not waited for any longer.
        queue: What the reader takes: all items in their order, or those that have an outcome.
        failures: What ended the batch: an error, and the item that it is of.
        servers: The stays of workers that serve this batch; only for the event loop's thread.
        idle: Those of them that have nothing to do.
        packed: The function as bytes, for processes.
        closed: Whether no further item may begin; it is not open before the map is entered.
        given_up: Whether nobody waits any longer, even for what is likely to end soon.
    """

    pending: SimpleQueue[Item[T] | None]
    busy: dict[Item[T], None]
    stuck: dict[Item[T], None]
    queue: deque[Item[T]]
    failures: list[tuple[BaseException, Item[T] | None]]
    servers: list[Server]
    idle: dict[Server, None]
    packed: bytes
    closed: bool
    given_up: bool

    def __init__(
        self,
        func: Callable[[Any], T],
        *,
        owner: object,
        ordered: bool,
        kept: tuple[type[BaseException], ...],
        post: Callable[..., None],
        staff: Callable[[], None],
        expected: tuple[type[BaseException], ...],
    ) -> None:
        self.func: Callable[[Any], T] = func
        self.function: str = function_name(func)
        self.owner: object = owner
        self.pending = SimpleQueue()
        self.busy = {}
        self.stuck = {}
        self.queue = deque()
        self.failures = []
        self.servers = []
        self.idle = {}
        self.packed = b""
        self.closed = True
        self.given_up = False
        self.ordered: bool = ordered
        self._kept = kept
        self._post = post
        self._staff = staff
        self.expected: tuple[type[BaseException], ...] = expected
        self._is_left = False
        self._abandoned = self._done = self._failed = 0
        self._wakers: list[anyio.Event | threading.Event] = []
        self._wanted: object = None
        self._returned: deque[Item[T]] = deque()
        register(self)

    def put(self, index: int, arg: object) -> None:
        """Add an item."""
        item = Item(self, index, arg)
        if self.ordered:
            self.queue.append(item)
        self.pending.put(item)

    def settle(self, item: Item[T], state: int, outcome: object) -> None:
        """Take the outcome of an item, in any thread, from who has claimed it."""
        item.outcome = outcome
        if state is FAILED and not isinstance(outcome, self._kept):
            self.fail(outcome, item)  # the item stays as it is, and is never taken for a result
            return
        item.state = state
        if not self.ordered:
            self.queue.append(item)
        wanted = self._wanted
        if (wanted is item or wanted is ANY) and self._wakers:
            self.wake()

    def fail(self, error: object, item: Item[T] | None = None) -> None:
        """End the batch with an error, from any thread."""
        self.failures.append((cast("BaseException", error), item))
        self.close("another item failed")
        self.wake()
        if self._is_left:
            self._log_failures()

    def leave(self) -> None:
        """Note that nobody reads any longer: log the errors that nobody has seen."""
        self._is_left = True
        self._log_failures()
        self.queue.clear()
        self._staff = do_nothing  # it holds the reader, which holds this

    def _log_failures(self) -> None:
        with suppress(IndexError):
            while True:
                error, _ = self.failures.pop()
                log_late(self.function, error, self.expected)

    def close(self, reason: str | None) -> None:
        """Let nothing more begin, and ask what runs to stop; from any thread or handler."""
        self.closed = True
        for item in list(self.busy):
            item.token._stop(reason)

    def abandon(self, item: Item[T]) -> bool:
        """Stop waiting for an item that runs; tell whether it still did."""
        self.stuck[item] = None  # first, so that it is always in one of the two
        if self.busy.pop(item, GONE) is GONE:
            self.stuck.pop(item, None)
            return False
        self._abandoned += 1
        return True

    def expire(self, item: Item[T], error: Exception, reason: str) -> None:
        """Make an error the outcome of an item that may still run, and ask it to stop."""
        if self.abandon(item):
            item.token._stop(reason)
            self._abandoned -= 1
            self._done += 1
            self._failed += 1
            self.settle(item, FAILED, error)

    def drop_pending(self) -> None:
        """Forget what waits, and wake all servers that idle."""
        self.give_back([])
        try:
            while True:
                if (item := self.pending.get_nowait()) is not None:
                    item.state = DROPPED
        except Empty:
            for _ in self.servers:
                self.pending.put(None)

    def give_back(self, items: list[Item[T]]) -> None:
        """Let others begin items that somebody has taken and not begun."""
        self._returned.extendleft(reversed(items))
        if self.closed:
            while (item := self.take_back()) is not None:
                item.state = DROPPED
        else:
            for _ in items:
                self.pending.put(None)
            self.ask()

    def take_back(self) -> Item[T] | None:
        """Take an item that was given back, if there is one."""
        try:
            return self._returned.popleft()
        except IndexError:
            return None

    def take_now(self) -> Item[T] | None:
        """Take an item if one waits."""
        try:
            return self.take_back() or self.pending.get_nowait()
        except Empty:
            return None

    async def wait(self, is_news: Callable[[], bool]) -> None:
        """Wait until it may be worth looking again.

        On cancel: nothing is lost.

        Args:
            is_news: Tells whether there is something already.
        """
        waker = anyio.Event()
        self._wakers.append(waker)
        self._wanted = self.queue[0] if self.ordered and self.queue else ANY
        try:
            if not is_news():
                await waker.wait()
        finally:
            self._wanted = None
            with suppress(ValueError):  # somebody has taken it to set it
                self._wakers.remove(waker)

    def block(self, item: Item[T], timeout: float) -> None:
        """Wait in this thread until it may be worth looking again at an item.

        Args:
            item: The item; nobody else waits.
            timeout: Seconds.
        """
        waker = threading.Event()
        self._wakers.append(waker)
        self._wanted = item
        try:
            if item.state == WAITS:
                waker.wait(timeout)
        finally:
            self._wanted = None
            with suppress(ValueError):  # somebody has taken it to set it
                self._wakers.remove(waker)

    def wake(self) -> None:
        """Wake the reader if it waits; from any thread or handler."""
        try:
            waker = self._wakers.pop()
        except IndexError:  # it does not, or is being woken
            return
        self._post(waker.set)

    def employ(self, server: Server) -> None:
        """Note that a server has come."""
        self.idle[server] = None
        self.servers.append(server)

    def retire(self, server: Server) -> None:
        """Note that a server has left, and keep its counts."""
        self.servers.remove(server)
        self.idle.pop(server, None)
        self._done += server.done
        self._failed += server.failed
        self._abandoned -= server.unbegun

    def lacks_servers(self) -> bool:
        """Tell whether something waits that no server is there for."""
        waiting = self.pending.qsize() + len(self._returned)
        return waiting > len(self.idle) and not self.closed

    def ask(self) -> None:
        """Ask for one more server if one is lacking, from a server that has been idle."""
        # Who adds an item looks who is idle; who is idle no longer looks for items.
        if self.lacks_servers():
            self._post(self._staff)

    def counts(self) -> tuple[int, int, int]:
        """Tell how many items were started, are done, and have failed."""
        servers = list(self.servers)
        done = self._done + sum(server.done for server in servers)
        failed = self._failed + sum(server.failed for server in servers)
        abandoned = self._abandoned - sum(server.unbegun for server in servers)
        return done + abandoned + len(self.busy), done, failed

    def running(self) -> list[Running]:
        """Give the items that run, whether or not they are waited for."""
        return list(dict.fromkeys([*self.busy, *self.stuck]))

    def is_busy(self) -> bool:
        """See `Several.is_busy`."""
        return bool(self.busy or self.stuck)
