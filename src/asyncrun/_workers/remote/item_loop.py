"""Loops over the items of a batch, in worker processes.

Rules of this room:

- To send items one by one costs a round trip each. While they are quick, some are sent ahead.
  Those that were and have not begun when one turns out to be slow, or is asked to stop, or is the
  end of its process, are taken back and go elsewhere.
- The first of those that were sent is the one that runs, and the only one that anybody else knows.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from ..._core.batch import FAILED, GONE, SUCCEEDED, Item
from ..._core.errors import SerializationError, Stopped, WorkerStartError
from ..._core.stop import Hook, StopToken
from ..process.handle import GoneError
from ..process.ipc.framing import SIZE
from ..thread.item_loop import SLICE, Loop
from .call import TRIES, content_of
from .errors import WorkerDied
from .serialization import pack

if TYPE_CHECKING:
    from ..._core.batch import Batch
    from ..process.handle import Process
    from ..process.ipc.framing import Frame
    from ..process.pool import Fleet
    from ..thread.item_loop import Queue

AHEAD: Final = 64
"""How many quick items may be with a process at once."""

SLOW: Final = 0.01
"""Seconds after which an item that was thought to be quick is not."""


class Sent(NamedTuple):
    """An item that was sent to a process.

    Attributes:
        key: The call's id there.
        item: The item.
        size: How many bytes.
    """

    key: int
    item: Item[Any]
    size: int


@final
class RemoteLoop(Loop):
    """A stay in one thread, in which item after item of a batch is run by a process.

    The first of those that were sent is the one that runs.

    Args:
        batch: The batch.
        queue: Who waits for a slot.
        fleet: Where to take a process.
    """

    __slots__ = ("_fleet", "_held", "_hook", "_lost", "_pace", "_process", "_sent", "_volume")

    _hook: Hook
    _process: Process

    def __init__(self, batch: Batch[Any], queue: Queue, fleet: Fleet) -> None:
        super().__init__(batch, queue)
        self._fleet = fleet
        self._sent: deque[Sent] = deque()
        self._volume = 0
        self._held: tuple[Item[Any], bytes] | None = None
        self._pace = SLICE
        self._lost = 0

    def run(self) -> None:
        """See `Loop.run`."""
        self.enter()
        batch = self.batch
        try:
            batch.packed = batch.packed or pack(batch.func, batch.function)
            self._serve()
        except SerializationError as exc:
            batch.fail(exc)
        finally:
            if self._held is not None:
                batch.give_back([self._held[0]])

    def _serve(self) -> None:
        while (item := self._next()) is not None:
            if (arguments := self._pack(item)) is not None:
                self._lend(item, arguments)
            while (held := self._held) is not None:
                self._held = None
                self._lend(*held)
            del item, arguments, held
            if self.batch.closed or self.is_to_leave():
                return

    def _next(self) -> Item[Any] | None:
        return self.batch.take_back() or super()._next()

    def _pack(self, item: Item[Any]) -> bytes | None:
        """Give the bytes of an item; if there are none, that is its outcome."""
        try:
            return pack((item.arg,), f"an argument of {self.batch.function}()")
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the item's outcome
            self._mark(item)
            self.finish(item, FAILED, exc)
            return None  # noqa: ASYNC104 - in a thread nothing is cancelled

    def _lend(self, item: Item[Any], arguments: bytes) -> None:
        """Take a process, have one item run, and those that come meanwhile."""
        try:
            self._process = process = self._fleet.take(self.batch.function)
        except BaseException:
            self.batch.give_back([item])
            raise
        try:
            self._sent.append(Sent(process.calls + 1, item, len(arguments)))
            self._volume = len(arguments)
            if self._begin():
                self._converse(arguments)
            else:
                self._retract()
        except GoneError as exc:
            self._mourn(exc)
        except (WorkerStartError, SerializationError):
            self._retract()
            raise
        except BaseException:  # no memory, say; the process still owes an answer
            self._take_back(len(self._sent) - 1)
            self.finish(self._pop(), FAILED, Stopped())
            raise
        finally:
            self._fleet.give(process)

    def _converse(self, arguments: bytes) -> None:
        process, sent = self._process, self._sent
        if not process.pid:
            process.start(self.batch.function)
            first = sent[0].item
            first.started, first.pid = time.monotonic(), process.pid  # who sees that looks at this
            del first
        process.send(self.batch.packed, arguments)
        while sent:
            self._send_ahead()
            frame = process.receive_within(SLOW if len(sent) > 1 else None)
            if frame is None:
                self._pace = SLOW  # nothing more is sent ahead of it
            if frame is None or self.batch.closed:
                process.recall()
            self._take_back(process.collect())
            if frame is not None and frame.id == sent[0].key:
                self._take(frame)

    def _send_ahead(self) -> None:
        """Send items for which this process is as good as any, as it will soon have the time."""
        batch, sent, process = self.batch, self._sent, self._process
        depth = min(AHEAD, int(SLICE / self._pace))
        if 2 * len(sent) > depth or self._held is not None or batch.closed or self.is_late():
            return
        room = min(depth - len(sent), self._fleet.left(process))
        contents: list[bytes] = []
        while len(contents) < room and (item := batch.take_now()) is not None:
            if (arguments := self._pack(item)) is None:
                continue
            self._volume += len(arguments)
            if self._volume > SIZE:
                self._volume -= len(arguments)
                self._held = item, arguments
                break
            contents.append(arguments)
            sent.append(Sent(process.calls + len(contents), item, len(arguments)))
        if contents:
            process.send_ahead(contents)

    def _mark(self, item: Item[Any]) -> None:
        item.token = StopToken()
        item.thread, item.started = self.thread, time.monotonic()
        self.batch.busy[item] = None

    def _begin(self) -> bool:
        """Note that the first item of those that were sent runs now; tell whether it may."""
        batch, process = self.batch, self._process
        key, item, _ = self._sent[0]
        item.pid = process.pid
        self._mark(item)
        self._hook = Hook(item.token, process.wake, ())
        self._hook.__enter__()
        process.watch(key, item.token)
        if batch.closed:  # in this very moment: its closer may not have seen the item
            item.token._stop(None)
        return not batch.closed

    def _take(self, frame: Frame) -> None:
        """Take the answer for the first item."""
        item = self._pop()
        spent = int.from_bytes(frame.second, "little") / 1e9
        self._pace = max(spent, (self._pace + spent) / 2, 1e-6)
        self._lost = 0
        state, outcome = SUCCEEDED, None
        try:
            outcome = content_of(frame, self.batch.function)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the item's outcome
            state, outcome = FAILED, exc
        self.finish(item, state, outcome)
        del item, outcome  # the traceback of an error holds this frame
        if self._sent:
            self._begin()

    def _pop(self) -> Item[Any]:
        """Forget the first item of those that were sent."""
        self._hook.__exit__(None, None, None)
        _, item, size = self._sent.popleft()
        self._volume -= size
        return item

    def _take_back(self, count: int) -> None:
        """Give so many items, the last ones, to whoever takes them."""
        items = [self._sent.pop() for _ in range(min(count, len(self._sent) - 1))]
        if items:
            self._volume -= sum(each.size for each in items)
            self.batch.give_back([each.item for each in reversed(items)])
        if count > len(items):  # its turn had come, but it had not begun
            self._retract()

    def _retract(self) -> None:
        """Do as if the first item, which has not begun, had never been taken."""
        item = self._pop()
        if self.batch.busy.pop(item, GONE) is GONE:
            self.drop(item)
            self.unbegun += 1
        else:
            self.batch.give_back([item])

    def _mourn(self, exc: GoneError) -> None:
        """Find an end for the item whose process has ended, and another process for the others."""
        count, pid = self._process.collect(), self._process.pid
        if count == len(self._sent):  # it was idle when it ended
            count -= 1
            self._lost += 1
        else:
            self._lost = TRIES
        self._take_back(count)
        if self._lost < TRIES:
            self._retract()
            return
        self._lost = 0
        item = self._pop()
        error: BaseException = Stopped(item.token.reason)
        if exc.returncode is not None:
            error = WorkerDied(self.batch.function, pid, exc.returncode)
        self.finish(item, FAILED, error)
