"""One blocking call in a worker process.

Rule of this module: the event loop sends and awaits a call only if pickling it is quick and runs no
user code. A worker thread handles every other call, every stop sequence, and every response that is
large or runs user code when unpickled.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

from ..._core.call import SlotLease
from ..._core.errors import SerializationError, Stopped
from ..._core.registry import STARTING
from ..._core.stop import StopCallback
from .endpoint import SMALL, WorkerGone
from .errors import WorkerDied
from .serialization import dumps, has_no_globals, loads, pickles_by_name, raise_error

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager

    from ..._core.call import Call
    from ..._core.registry import RunningCall
    from .endpoint import Endpoint, EndpointPool, Response

T = TypeVar("T")

MAX_ATTEMPTS: Final = 3
"""How many processes may end before they begin a call: an idle one may be killed at any moment."""


@final
class RemoteCall(SlotLease[T]):
    """The lease of a thread that has a call run by a process.

    A call that takes no time to send is sent and waited for without a thread, which would take
    longer than all the rest. If it turns out to be more than that, a thread goes on with it.

    Args:
        call: The call.
        pool: Where to take a process.

    Attributes:
        was_sent_inline: Whether it was sent by the event loop's thread.
    """

    __slots__ = (
        "_call",
        "_claimed",
        "_pickled",
        "_pool",
        "_process",
        "_stop_callback",
        "was_sent_inline",
    )

    was_sent_inline: bool

    def __init__(self, call: Call[T], pool: EndpointPool[Any]) -> None:
        self._call = call
        call.location = STARTING
        self._pool = pool
        self._claimed = threading.Lock()
        self._pickled: tuple[bytes, bytes] | None = None
        self._process: Endpoint | None = None
        self.was_sent_inline = False
        self._stop_callback: AbstractContextManager[None] = nullcontext()

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

    def run(self) -> T:
        """See `SlotLease.run`."""
        call, attempts = self._call, MAX_ATTEMPTS
        while True:
            attempts -= 1
            process = self._process
            try:
                if process is None:
                    process = self._start()
                return self.finish(cast("Response", process.receive(None)))
            except WorkerGone as exc:
                process = cast("Endpoint", process or self._process)
                if exc.returncode is None:
                    raise Stopped(call.token.reason) from None
                if not (process.take_revoked() and attempts):
                    raise WorkerDied(call.name, process.pid, exc.returncode) from None
            finally:
                self._release_process()

    def finish(self, frame: Response) -> T:
        """Return the result of a response, or raise its error."""
        result: T = load_response(frame, self._call.function)
        return result

    def _start(self) -> Endpoint:
        call = self._call
        self._pickle()
        process: Endpoint = self._pool.acquire(call.name)
        self._attach(process)
        if process.location is None:
            process.set_current_call(1, call.token)
            process.start(call.name)
        self._send(process)
        return process

    def _attach(self, process: Endpoint) -> None:
        self._process = process
        self._stop_callback = StopCallback(self._call.token, process.wake, ())
        self._stop_callback.__enter__()

    def _release_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._stop_callback.__exit__(None, None, None)
            self._pool.release(process)

    def _pickle(self) -> tuple[bytes, bytes]:
        call = self._call
        if self._pickled is None:
            arguments = dumps(call.args, f"an argument of {call.function}()")
            self._pickled = self._pool.pickle_function(call.func, call.function), arguments
        return self._pickled

    def _send(self, process: Endpoint) -> None:
        function, arguments = self._pickle()
        call = self._call
        call.location = process.location
        process.set_current_call(process.last_call_id + 1, call.token)
        if call.on_begin is not None:
            call.on_begin()
        process.send(function, arguments)


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


def load_response(frame: Response, function: str) -> Any:
    """Return the result of a response, or raise its error."""
    if frame.is_error:
        raise_error(frame.body, f"{function}()")
    return loads(frame.body, f"the result of {function}()")
