"""One blocking call in a worker process.

Rule of this module: the event loop sends and awaits a call only if pickling it is quick and runs no
user code. A worker thread handles every other call, every stop sequence, and every response that is
large or runs user code when unpickled.
"""

from __future__ import annotations

import threading
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

from ..._core.call import SlotLease
from ..._core.errors import SerializationError
from .by_value import pickles_by_name
from .endpoint import SMALL
from .exchange import Exchange
from .serialization import has_no_globals

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ..._core.call import Call
    from ..._core.registry import RunningCall
    from .endpoint import Endpoint, EndpointPool, Response

T = TypeVar("T")


@final
class RemoteCall(Exchange[T], SlotLease[T]):
    """The lease of a thread that has a call run by a process.

    A call that takes no time to send is sent and waited for without a thread, which would take
    longer than all the rest. If it turns out to be more than that, a thread goes on with it.

    Args:
        call: The call.
        pool: Where to take a process.

    Attributes:
        was_sent_inline: Whether it was sent by the event loop's thread.
    """

    was_sent_inline: bool
    _call: Call[T]

    def __init__(self, call: Call[T], pool: EndpointPool[Any]) -> None:
        super().__init__(call, pool)
        self._claimed = threading.Lock()
        self.was_sent_inline = False

    def subject(self) -> Call[T]:
        """See `SlotLease.subject`."""
        return self._call

    def stopping(self) -> Sequence[RunningCall]:
        """See `SlotLease.stopping`."""
        return self._call.stopping()

    def try_start(self) -> bool:
        """See `SlotLease.try_start`; of the threads that may go on with a call one does."""
        if self.was_sent_inline:
            return self._claimed.acquire(blocking=False)
        return self._call.try_start()

    def worker_done(
        self,
        error: BaseException | None = None,
        *,
        silent_late_errors: tuple[type[BaseException], ...] = (),
    ) -> bool:
        """See `SlotLease.worker_done`; whatever was lent is given back."""
        try:
            self._release_process()
        finally:
            is_late = self._call.worker_done(error, silent_late_errors=silent_late_errors)
        return is_late

    def waiter_done(self, error: BaseException | None = None) -> bool:
        """See `SlotLease.waiter_done`."""
        return self._call.waiter_done(error)

    def send_inline(self) -> bool:
        """Send the call in this thread if that is sure to be quick; return whether it was sent."""
        call = self._call
        if not can_send_inline(call.func, call.args):
            return False
        try:
            pickled = self._pickle()
        except SerializationError:  # the thread will find out
            return False
        if sum(map(len, pickled)) > SMALL or not self._pool.acquire_idle_nowait(self._attach):
            return False
        call.try_start()
        self._send(cast("Endpoint", self._process))
        self.was_sent_inline = True
        return True

    def needs_thread(self) -> bool:
        """Return whether it was sent inline, has not ended, and no thread goes on with it."""
        return self.was_sent_inline and self._process is not None and not self._claimed.locked()

    async def receive(self) -> Response | None:
        """Wait for the response to a call that was sent inline.

        On cancel: the call goes on.

        Returns:
            The answer; or None if it takes a thread to go on.
        """
        process = cast("Endpoint", self._process)
        frame = await process.receive_async()
        if frame is None:
            return None
        if len(frame.body) <= SMALL and has_no_globals(frame.body) and process.is_usable():
            self._call.revive()  # the two may have come in the same turn of the loop
            return frame
        process.unread(frame)
        return None


MAX_INLINE_BYTES: Final = 4096
"""Characters or bytes of an argument that are sent in no time."""

MAX_INLINE_ITEMS: Final = 16
"""Items of an argument that are looked at, to see whether it is sent in no time."""


def can_send_inline(func: object, args: tuple[object, ...]) -> bool:
    """Return whether pickling a call is quick and runs no code but pickle's own."""
    return pickles_by_name(func) and _is_small(args, 2)


def _is_small(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in (int, float, bool, NoneType):
        return True
    if kind in (str, bytes):
        return len(cast("str", value)) <= MAX_INLINE_BYTES
    if kind not in (tuple, list, dict) or not depth:
        return False
    items = cast("Collection[object]", value)
    if kind is dict:
        items = [*items, *cast("dict[object, object]", value).values()]
    return len(items) <= MAX_INLINE_ITEMS and all(_is_small(item, depth - 1) for item in items)
