"""A batch: items that are called one by one, in any number of slots of a worker.

Rules of this module:

- To start an item: insert it into ``running``, then read ``closed``.
  To close: set ``closed``, then read ``running``. Therefore every running item is asked to stop.
- The states of an item; from top to bottom each is entered once:
  place     entered when                    left by                           state
  --------- ------------------------------- --------------------------------- -------------------
  pending   the reader adds it              a consumer; the end of the batch  PENDING; DISCARDED
  running   a consumer begins it            the first that pops it            PENDING
  output    its consumer has the outcome    the reader                        SUCCEEDED or FAILED
  abandoned it timed out, or the map ends   its consumer, when it ends        FAILED or PENDING
  An item whose worker was gone before it could begin goes back from running to pending.
- Millions of items pass through here: what is done for each is counted in nanoseconds.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, suppress
from enum import Enum
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, final

from .call import SlotLease
from .registry import register
from .report import function_name, log_unobserved_error, short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .registry import RunningCall
    from .stop import StopToken

T = TypeVar("T")


class ItemState(Enum):
    """Whether an item has an outcome; see the head of this module."""

    PENDING = "has no outcome yet"
    SUCCEEDED = "has a result"
    FAILED = "has an error"
    DISCARDED = "never begins"


PENDING: Final = ItemState.PENDING
SUCCEEDED: Final = ItemState.SUCCEEDED
FAILED: Final = ItemState.FAILED
DISCARDED: Final = ItemState.DISCARDED


@final
class Item(Generic[T]):
    """One item of a batch, and the call for it.

    Args:
        batch: The batch.
        index: Its place in the input, from 0.
        arg: The item itself.

    Attributes:
        state: Whether there is an outcome.
        outcome: The result, or the error.
        token: Its stop flag; there is none before it begins.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
        location: As of a `Call`; there is none in a thread.
    """

    __slots__ = ("arg", "batch", "index", "location", "outcome",
                 "started", "state", "thread", "token")  # fmt: skip

    state: ItemState
    outcome: Any
    token: StopToken
    started: float
    thread: int
    location: str

    def __init__(self, batch: Batch[T], index: int, arg: object) -> None:
        self.batch: Batch[T] = batch
        self.index: int = index
        self.arg: object = arg
        self.state = PENDING

    @property
    def name(self) -> str:
        """See `RunningCall.name`."""
        return self.batch.function

    @property
    def function(self) -> str:
        """See `RunningCall.function`."""
        return self.batch.function

    @property
    def owner(self) -> object:
        """See `RunningCall.owner`."""
        return self.batch.owner

    def is_cooperative(self) -> bool:
        """See `RunningCall.is_cooperative`."""
        return not self.batch.is_abandoned and self.token._is_cooperative()

    def take_error(self) -> BaseException:
        """Return the error, with a note that names the item; once."""
        error: BaseException = self.outcome
        self.outcome = None  # its traceback may hold the item
        with suppress(Exception):  # an error may refuse to take it
            error.add_note(f"item {self.index} of the map: {short_repr(self.arg)}")
        return error


class ItemConsumer(SlotLease[None]):
    """The lease of a worker that takes item after item of a batch.

    Args:
        batch: The batch.

    Attributes:
        batch: The batch.
        done: For how many items it has an outcome.
        failed: For how many of those it is an error.
        never_started: How many were abandoned and then had not even begun.
    """

    __slots__ = ("batch", "done", "failed", "never_started")

    batch: Batch[Any]
    done: int
    failed: int
    never_started: int

    def __init__(self, batch: Batch[Any]) -> None:
        self.batch = batch
        self.done = self.failed = self.never_started = 0
        super().__init__()

    def siblings(self) -> Sequence[SlotLease[Any]]:
        """See `SlotLease.siblings`."""
        return self.batch.consumers

    def active_siblings(self) -> int:
        """See `SlotLease.active_siblings`."""
        return len(self.batch.consumers) - len(self.batch.abandoned)


def do_nothing() -> None:
    """Stand in for what is to be called no more."""


MISSING: Final = object()
ANY_ITEM: Final = object()


@final
class Batch(Generic[T]):
    """Items that are called one by one, and the place where their outcomes meet the reader.

    Args:
        func: What is called with each of them.
        owner: The runner that they belong to.
        ordered: Whether the reader takes them in their order, and not as they have an outcome.
        captured_errors: What kinds of error are an outcome like others, and end nothing.
        call_soon_threadsafe: Calls something in the event loop's thread, from any thread.
        silent_late_errors: What an item may raise when nobody waits for it, apart from `Stopped`.

    Attributes:
        pending: What waits; a None only wakes whoever takes it.
        running: What runs, and is waited for.
        abandoned: What runs, but is not waited for any longer.
        output: What the reader takes: all items in their order, or those that have an outcome.
        failures: What ended the batch: an error, and the item that it is of.
        request_consumer: Sees to it that there are consumers, in the event loop's thread.
        consumers: The leases of workers that serve this batch; only for the event loop's thread.
        idle: Those of them that have nothing to do.
        pickled_function: The function, pickled.
        closed: Whether no further item may begin, as before the map is entered.
        is_abandoned: Whether nobody waits any longer, even for what is likely to end soon.
    """

    pending: SimpleQueue[Item[T] | None]
    running: dict[Item[T], None]
    abandoned: dict[Item[T], None]
    output: deque[Item[T]]
    failures: list[tuple[BaseException, Item[T] | None]]
    request_consumer: Callable[[], None]
    consumers: list[ItemConsumer]
    idle: dict[ItemConsumer, None]
    pickled_function: bytes
    closed: bool
    is_abandoned: bool

    def __init__(
        self,
        func: Callable[[Any], T],
        *,
        owner: object,
        ordered: bool,
        captured_errors: tuple[type[BaseException], ...],
        call_soon_threadsafe: Callable[..., None],
        silent_late_errors: tuple[type[BaseException], ...],
    ) -> None:
        self.func: Callable[[Any], T] = func
        self.function: str = function_name(func)
        self.owner: object = owner
        self.pending = SimpleQueue()
        self.running = {}
        self.abandoned = {}
        self.output = deque()
        self.failures = []
        self.consumers = []
        self.idle = {}
        self.pickled_function = b""
        self.closed = True
        self.is_abandoned = False
        self.ordered: bool = ordered
        self._captured_errors = captured_errors
        self._call_soon_threadsafe = call_soon_threadsafe
        self.request_consumer = do_nothing
        self.silent_late_errors: tuple[type[BaseException], ...] = silent_late_errors
        self._is_detached = False
        self._abandoned_count = self._done = self._failed = 0
        self._wakers: list[Callable[[], object]] = []
        self._awaited: object = None
        self._requeued: deque[Item[T]] = deque()
        register(self)

    def put(self, index: int, arg: object) -> None:
        """Add an item."""
        item = Item(self, index, arg)
        if self.ordered:
            self.output.append(item)
        self.pending.put(item)

    def set_outcome(self, item: Item[T], state: ItemState, outcome: object) -> None:
        """Take the outcome of an item from the thread that has claimed the item."""
        item.outcome = outcome
        if state is FAILED and not isinstance(outcome, self._captured_errors):
            self.fail(outcome, item)  # the item stays as it is, and is never taken for a result
            return
        item.state = state
        if not self.ordered:
            self.output.append(item)
        awaited = self._awaited
        if (awaited is item or awaited is ANY_ITEM) and self._wakers:
            self.notify_reader()

    def fail(self, error: object, item: Item[T] | None = None) -> None:
        """End the batch with an error, from any thread."""
        self.failures.append((cast("BaseException", error), item))
        self.close("another item failed")
        self.notify_reader()
        if self._is_detached:
            self._log_failures()

    def detach_reader(self) -> None:
        """Note that the reader has left: log the errors that it has not seen."""
        self._is_detached = True
        self._log_failures()
        self.output.clear()
        self.request_consumer = do_nothing  # it holds the reader, which holds this

    def _log_failures(self) -> None:
        with suppress(IndexError):
            while True:
                error, _ = self.failures.pop()
                log_unobserved_error(self.function, error, self.silent_late_errors)

    def close(self, reason: str | None) -> None:
        """Refuse every further item, and ask those that run to stop; from any thread or handler."""
        self.closed = True
        for item in list(self.running):
            item.token._stop(reason)

    def abandon(self, item: Item[T]) -> bool:
        """Stop waiting for an item that runs; return whether it still did."""
        self.abandoned[item] = None  # first, so that it is always in one of the two
        if self.running.pop(item, MISSING) is MISSING:
            self.abandoned.pop(item, None)
            return False
        self._abandoned_count += 1
        return True

    def time_out(self, item: Item[T], error: Exception, reason: str) -> None:
        """Make an error the outcome of an item that may still run, and ask it to stop."""
        if self.abandon(item):
            item.token._stop(reason)
            self._abandoned_count -= 1
            self._done += 1
            self._failed += 1
            self.set_outcome(item, FAILED, error)

    def drop_pending(self) -> None:
        """Forget what waits, and wake all servers that idle."""
        self.requeue([])
        try:
            while True:
                if (item := self.pending.get_nowait()) is not None:
                    item.state = DISCARDED
        except Empty:
            for _ in self.consumers:
                self.pending.put(None)

    def requeue(self, items: list[Item[T]]) -> None:
        """Put back items that a consumer has taken and not started, for other consumers."""
        self._requeued.extendleft(reversed(items))
        if self.closed:
            while (item := self.pop_requeued()) is not None:
                item.state = DISCARDED
            self.notify_reader()
        else:
            for _ in items:
                self.pending.put(None)
            self.request_consumer_if_needed()

    def pop_requeued(self) -> Item[T] | None:
        """Take an item that was given back, if there is one."""
        with suppress(IndexError):
            return self._requeued.popleft()
        return None

    def pop_nowait(self) -> Item[T] | None:
        """Take an item if one waits."""
        try:
            return self.pop_requeued() or self.pending.get_nowait()
        except Empty:
            return None

    @contextmanager
    def reader_waiting(
        self, wake: Callable[[], object], item: Item[T] | None = None
    ) -> Generator[None]:
        """Register the reader: in this block it is woken when it may be worth looking again.

        To wait: enter this block, then look, then wait. To wake: store the outcome, then look for a
        waker.

        Args:
            wake: Wakes it; called by way of ``call_soon_threadsafe``, from any thread.
            item: The item that it waits for; None means any one.
        """
        self._wakers.append(wake)
        self._awaited = ANY_ITEM if item is None else item
        try:
            yield
        finally:
            self._awaited = None
            with suppress(ValueError):  # `notify_reader` has taken it to set it
                self._wakers.remove(wake)

    def notify_reader(self) -> None:
        """Wake the reader if it waits; from any thread or handler."""
        try:
            wake = self._wakers.pop()
        except IndexError:  # it does not, or is being woken
            return
        self._call_soon_threadsafe(wake)

    def add_consumer(self, consumer: ItemConsumer) -> None:
        """Note that a consumer has come."""
        self.idle[consumer] = None
        self.consumers.append(consumer)

    def remove_consumer(self, consumer: ItemConsumer) -> None:
        """Note that a consumer has left, and keep its counts."""
        self.consumers.remove(consumer)
        self.idle.pop(consumer, None)
        self._done += consumer.done
        self._failed += consumer.failed
        self._abandoned_count -= consumer.never_started

    def needs_consumer(self) -> bool:
        """Return whether more items wait than there are idle consumers."""
        waiting = self.pending.qsize() + len(self._requeued)
        return waiting > len(self.idle) and not self.closed

    def request_consumer_if_needed(self) -> None:
        """Ask for one more consumer if one is lacking; from a consumer that has been idle."""
        # The reader: add an item, then read `idle`. A consumer: leave `idle`, then count the items.
        if self.needs_consumer():
            self._call_soon_threadsafe(self.request_consumer)

    def counts(self) -> tuple[int, int, int]:
        """Return how many items were started, are done, and have failed."""
        consumers = list(self.consumers)
        done = self._done + sum(consumer.done for consumer in consumers)
        failed = self._failed + sum(consumer.failed for consumer in consumers)
        abandoned = self._abandoned_count - sum(consumer.never_started for consumer in consumers)
        return done + abandoned + len(self.running), done, failed

    def running_calls(self) -> list[RunningCall]:
        """Return the items that run, whether or not they are waited for."""
        return list(dict.fromkeys([*self.running, *self.abandoned]))

    def is_busy(self) -> bool:
        """See `CallSource.is_busy`."""
        return bool(self.running or self.abandoned)
