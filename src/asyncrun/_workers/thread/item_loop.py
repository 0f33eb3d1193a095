"""Loops over the items of a batch, in threads.

Rules of this module:

- To offload each item by itself takes 200 us and more; a loop takes one after the other, and
  most of what it does for each is to give it a stop flag and a context of its own.
- While another caller waits for a slot, a loop gives its slot up after about one item's time (see
  `slots`).
"""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from queue import Empty
from typing import TYPE_CHECKING, Any, Final, cast

from ..._core.batch import DISCARDED, FAILED, MISSING, SUCCEEDED, ItemConsumer
from ..._core.current import current_token
from ..._core.events import note_end, note_start, observers
from ..._core.registry import user_code_entry
from ..._core.report import log_unobserved_error
from ..._core.stop import StopFlag, StopToken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..._core.batch import Batch, Item, ItemState
    from ..._core.registry import RunningCall
    from ..slots import SlotQueue


class ItemRunner(ItemConsumer):
    """The lease of a worker in one thread, in which it calls item after item.

    Args:
        batch: The batch.

    Attributes:
        thread: That thread, by `threading.get_ident`.
        token: The stop flag of the item that runs, or of the last one.
    """

    __slots__ = ("thread", "token")

    thread: int
    token: StopToken

    def stopping(self) -> Sequence[RunningCall]:
        """See `SlotLease.stopping`."""
        thread = getattr(self, "thread", None)  # it may not have begun
        items = self.batch.running_calls()
        return [item for item in items if item.thread == thread and item.token._set]

    def start_item(self, item: Item[Any]) -> None:
        """List an item, with its token, among those that run; then read `Batch.closed`."""
        self.token = item.token = StopFlag()
        item.thread = self.thread
        item.started = time.monotonic()
        self.batch.running[item] = None
        if observers:
            note_start(item)

    @user_code_entry
    def call(self, item: Item[Any]) -> None:
        """Run an item, in this thread and in a context that is the item's alone."""
        batch = self.batch
        self.start_item(item)
        if batch.closed:  # in this very moment: its closer may not have seen the item
            item.state = DISCARDED
            self.drop(item)
            batch.notify_reader()
            return
        current_token.set(item.token)
        state = SUCCEEDED
        outcome: object
        try:
            outcome = batch.func(item.arg)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the item's outcome
            state, outcome = FAILED, exc
        self.finish(item, state, outcome)
        del item, outcome  # the traceback of an error holds this frame

    def finish(self, item: Item[Any], state: ItemState, outcome: object) -> None:
        """Hand over the outcome of an item, if anybody still waits for it."""
        batch = self.batch
        error = cast("BaseException", outcome) if state is FAILED else None
        if batch.running.pop(item, MISSING) is MISSING:
            self.drop(item, error)
            return
        if observers:
            note_end(item, error)
        self.done += 1
        if error is not None:
            self.failed += 1
        batch.set_outcome(item, state, outcome)

    def drop(self, item: Item[Any], error: BaseException | None = None) -> None:
        """End an item whose outcome has no waiter."""
        if observers:
            note_end(item, error)
        try:
            if error is not None:
                log_unobserved_error(item.name, error, self.batch.silent_late_errors)
        finally:
            self.batch.running.pop(item, None)
            self.batch.abandoned.pop(item, None)


IDLE_TIMEOUT: Final = 0.1
"""Seconds that a loop waits for more: the start of another one costs 0.3 ms, and a thread."""

TIME_SLICE: Final = 0.001
"""Seconds that a busy loop may keep a slot that others wait for: to hand it over costs 0.3 ms."""


class ThreadItemLoop(ItemRunner):
    """A lease in one thread, in which item after item of a batch runs."""

    __slots__ = ("_slot_queue", "_slot_since")

    def __init__(self, batch: Batch[Any], slot_queue: SlotQueue) -> None:
        super().__init__(batch)
        self._slot_queue = slot_queue

    def nudge(self) -> None:
        """See `SlotHolder.nudge`."""
        self.batch.pending.put(None)

    def _record_start(self) -> None:
        """Note where and when this begins."""
        self.thread = threading.get_ident()
        self._slot_since = time.monotonic()

    def run(self) -> None:
        """Run items until there are none, or another caller is to have the slot."""
        self._record_start()
        batch, waiting = self.batch, self._slot_queue.waiting
        take = batch.pending.get_nowait
        item = self._next()
        while item is not None:
            copy_context().run(self.call, item)
            item = None  # not to be kept while this waits for another one
            if batch.closed or (waiting and self.must_yield_slot()):
                return
            try:  # noqa: SIM105 - suppress() is slow
                item = take()
            except Empty:
                pass
            if item is None:
                item = self._next()

    def _next(self) -> Item[Any] | None:
        """Wait for an item, but not for long, and not while another caller waits for the slot."""
        batch, slot_queue = self.batch, self._slot_queue
        item = None
        slot_queue.mark_idle(self)
        batch.idle[self] = None
        try:
            item = batch.pending.get(not slot_queue.waiting, IDLE_TIMEOUT)
        except Empty:
            pass
        finally:
            slot_queue.mark_busy(self)
            batch.idle.pop(self, None)
        if item is None:
            slot_queue.should_yield(self, idle=True)
        else:
            batch.request_consumer_if_needed()
        return item

    def slice_expired(self) -> bool:
        """Return whether the time slice is over that a loop has if another caller waits."""
        return time.monotonic() - self._slot_since >= TIME_SLICE

    def must_yield_slot(self) -> bool:
        """Return whether this must yield its slot; then the slot is reserved for another caller."""
        return self.slice_expired() and self._slot_queue.should_yield(self, idle=False)
