"""Loops over the items of a batch, in worker processes.

Rules of this module:

- Items sent one by one cost a round trip each. While items are quick, some are prefetched. If an
  item proves slow, is asked to stop or kills the process, the prefetched items behind it are
  revoked and requeued.
- Only the head of the items in flight runs, and only the head is listed in `Batch.running`.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..._core.batch import FAILED, MISSING, SUCCEEDED, Item
from ..._core.errors import SerializationError, Stopped, WorkerStartError
from ..._core.events import note_requeued, observers
from ..._core.registry import STARTING
from ..._core.stop import StopCallback
from ..thread.item_loop import TIME_SLICE, ThreadItemLoop
from .endpoint import SMALL, WorkerGone
from .errors import WorkerDied
from .exchange import MAX_ATTEMPTS, load_response
from .serialization import dumps

if TYPE_CHECKING:
    from ..._core.batch import Batch
    from ..slots import SlotQueue
    from .endpoint import Endpoint, EndpointPool, Response

MAX_PREFETCH: Final = 64
"""How many quick items may be with a process at once."""

SLOW_ITEM: Final = 0.01
"""Seconds after which an item that was thought to be quick is not."""


class InFlight(NamedTuple):
    """An item that was sent to a process.

    Attributes:
        call_id: The call's id there.
        item: The item.
        size: How many bytes.
    """

    call_id: int
    item: Item[Any]
    size: int


class RemoteItemLoop(ThreadItemLoop):
    """A lease in one thread, in which item after item of a batch is run by a process.

    The first of those that were sent is the one that runs.

    Args:
        batch: The batch.
        slot_queue: The waiters for a slot.
        pool: Where to take a process.
    """

    __slots__ = (
        "_deferred",
        "_failed_starts",
        "_in_flight",
        "_in_flight_bytes",
        "_item_seconds",
        "_pool",
        "_process",
        "_stop_callback",
    )

    _stop_callback: StopCallback
    _process: Endpoint

    def __init__(self, batch: Batch[Any], slot_queue: SlotQueue, pool: EndpointPool[Any]) -> None:
        super().__init__(batch, slot_queue)
        self._pool = pool
        self._in_flight: deque[InFlight] = deque()
        self._in_flight_bytes = 0
        self._deferred: tuple[Item[Any], bytes] | None = None
        self._item_seconds = TIME_SLICE
        self._failed_starts = 0

    def run(self) -> None:
        """See `ThreadItemLoop.run`."""
        self._record_start()
        batch = self.batch
        try:
            batch.pickled_function = batch.pickled_function or dumps(batch.func, batch.function)
            self._serve()
        except SerializationError as exc:
            batch.fail(exc)
        finally:
            if self._deferred is not None:
                batch.requeue([self._deferred[0]])

    def _serve(self) -> None:
        waiting = self._slot_queue.waiting
        while (item := self._next()) is not None:
            if (arguments := self._pickle(item)) is not None:
                self._run_on_process(item, arguments)
            while (deferred := self._deferred) is not None:
                self._deferred = None
                self._run_on_process(*deferred)
            del item, arguments, deferred
            if self.batch.closed or (waiting and self.must_yield_slot()):
                return

    def _next(self) -> Item[Any] | None:
        return self.batch.pop_requeued() or super()._next()

    def _pickle(self, item: Item[Any]) -> bytes | None:
        """Return the bytes of an item; None if they cannot be made, which is its outcome."""
        try:
            return dumps((item.arg,), f"an argument of {self.batch.function}()")
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the item's outcome
            self.start_item(item)
            self.finish(item, FAILED, exc)
            return None  # noqa: ASYNC104 - in a thread nothing is cancelled

    def _run_on_process(self, item: Item[Any], arguments: bytes) -> None:
        """Run one item on a process, and those that come meanwhile."""
        try:
            self._process = process = self._pool.acquire(self.batch.function)
        except BaseException:
            self.batch.requeue([item])
            raise
        try:
            self._in_flight.append(InFlight(process.last_call_id + 1, item, len(arguments)))
            self._in_flight_bytes = len(arguments)
            if self._start_head():
                self._exchange(arguments)
            else:
                self._requeue_head()
        except WorkerGone as exc:
            self._handle_death(exc)
        except (WorkerStartError, SerializationError):
            self._requeue_head()
            raise
        except BaseException:  # no memory, say; the process still owes an answer
            self._requeue_tail(len(self._in_flight) - 1)
            self.finish(self._pop_head(), FAILED, Stopped())
            raise
        finally:
            self._pool.release(process)

    def _exchange(self, arguments: bytes) -> None:
        process, in_flight = self._process, self._in_flight
        if process.location is None:
            process.start(self.batch.function)
            first = in_flight[0].item
            # The clock of `item_timeout` starts with the location: `started` is written first.
            first.started = time.monotonic()
            first.location = process.location or STARTING
            del first
        process.send(self.batch.pickled_function, arguments)
        while in_flight:
            self._prefetch()
            frame = process.receive(SLOW_ITEM if len(in_flight) > 1 else None)
            if frame is None:
                self._item_seconds = SLOW_ITEM  # nothing more is sent ahead of it
            if frame is None or self.batch.closed:
                process.revoke()
            if revoked := process.take_revoked():
                self._requeue_tail(revoked)
            if frame is not None and frame.call_id == in_flight[0].call_id:
                self._handle_response(frame)

    def _prefetch(self) -> None:
        """Prefetch as many items as the process will finish within one time slice."""
        batch, in_flight, process = self.batch, self._in_flight, self._process
        depth = min(MAX_PREFETCH, int(TIME_SLICE / self._item_seconds))
        if (
            2 * len(in_flight) > depth
            or self._deferred is not None
            or batch.closed
            or (self._slot_queue.waiting and self.slice_expired())
        ):
            return
        capacity = min(depth - len(in_flight), self._pool.calls_left(process))
        contents: list[bytes] = []
        while len(contents) < capacity and (item := batch.pop_nowait()) is not None:
            if (arguments := self._pickle(item)) is None:
                continue
            self._in_flight_bytes += len(arguments)
            if self._in_flight_bytes > SMALL:
                self._in_flight_bytes -= len(arguments)
                self._deferred = item, arguments
                break
            contents.append(arguments)
            in_flight.append(InFlight(process.last_call_id + len(contents), item, len(arguments)))
        if contents:
            process.prefetch(contents)

    def _start_head(self) -> bool:
        """Mark the first item in flight as the running one; return whether it may run."""
        batch, process = self.batch, self._process
        call_id, item, _ = self._in_flight[0]
        item.location = process.location or STARTING
        self.start_item(item)
        self._stop_callback = StopCallback(item.token, process.wake, ())
        self._stop_callback.__enter__()
        process.set_current_call(call_id, item.token)
        if batch.closed:  # in this very moment: its closer may not have seen the item
            item.token._stop(None)
        return not batch.closed

    def _handle_response(self, frame: Response) -> None:
        """Handle the response for the first item."""
        item = self._pop_head()
        spent = int.from_bytes(frame.extra, "little") / 1e9
        self._item_seconds = max(spent, (self._item_seconds + spent) / 2, 1e-6)
        self._failed_starts = 0
        state, outcome = SUCCEEDED, None
        try:
            outcome = load_response(frame, self.batch.function)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the item's outcome
            state, outcome = FAILED, exc
        self.finish(item, state, outcome)
        del item, outcome  # the traceback of an error holds this frame
        if self._in_flight:
            self._start_head()

    def _pop_head(self) -> Item[Any]:
        """Forget the first item of those that were sent."""
        self._stop_callback.__exit__(None, None, None)
        _, item, size = self._in_flight.popleft()
        self._in_flight_bytes -= size
        return item

    def _requeue_tail(self, count: int) -> None:
        """Requeue so many of the items in flight, the last ones."""
        items = [self._in_flight.pop() for _ in range(min(count, len(self._in_flight) - 1))]
        if items:
            self._in_flight_bytes -= sum(each.size for each in items)
            self.batch.requeue([each.item for each in reversed(items)])
        if count > len(items):  # its turn had come, but it had not begun
            self._requeue_head()

    def _requeue_head(self) -> None:
        """Do as if the first item, which has not begun, had never been taken."""
        item = self._pop_head()
        if self.batch.running.pop(item, MISSING) is MISSING:
            self.drop(item)
            self.never_started += 1
        else:
            if observers:
                note_requeued(item)
            self.batch.requeue([item])

    def _handle_death(self, exc: WorkerGone) -> None:
        """Handle the worker's death: fail the item that had started, requeue the others."""
        count, pid = self._process.take_revoked(), self._process.pid
        if count == len(self._in_flight):  # it was idle when it ended
            count -= 1
            self._failed_starts += 1
        else:
            self._failed_starts = MAX_ATTEMPTS
        self._requeue_tail(count)
        if self._failed_starts < MAX_ATTEMPTS:
            self._requeue_head()
            return
        self._failed_starts = 0
        item = self._pop_head()
        error: BaseException = Stopped(item.token.reason)
        if exc.returncode is not None:
            error = WorkerDied(self.batch.function, pid, exc.returncode)
        self.finish(item, FAILED, error)
