"""One blocking call in a worker process.

Rule of this room: a call that is sure to be pickled in no time, and by nobody's code but pickle's,
is sent by the event loop's thread and awaited there; any other one, and one that has to go down the
ladder, is the business of a thread. So is an answer that may take time, or code of somebody else.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

from ..._core.call import Stay
from ..._core.errors import SerializationError, Stopped
from ..._core.stop import Hook
from ..process.child.main import Code
from ..process.handle import GoneError
from ..process.ipc.framing import SIZE
from ..process.loop_reader import ear_for
from .errors import WorkerDied
from .serialization import is_plain, looks_nothing_up, pack, raise_error, unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractContextManager

    from ..._core.call import Call
    from ..._core.registry import Running
    from ..process.handle import Process
    from ..process.ipc.framing import Frame
    from ..process.pool import Fleet

T = TypeVar("T")

TRIES: Final = 3
"""How many processes may end before they begin a call: an idle one may be killed at any moment."""


@final
class Errand(Stay[T]):
    """The stay of a thread that has a call run by a process.

    A call that takes no time to send is sent and waited for without a thread, which would take
    longer than all the rest. If it turns out to be more than that, a thread goes on with it.

    Args:
        call: The call.
        fleet: Where to take a process.

    Attributes:
        is_light: Whether it was sent by the event loop's thread.
    """

    __slots__ = ("_call", "_claimed", "_fleet", "_hook", "_packed", "_process", "is_light")

    is_light: bool

    def __init__(self, call: Call[T], fleet: Fleet) -> None:
        self._call = call
        call.pid = 0
        self._fleet = fleet
        self._claimed = threading.Lock()
        self._packed: tuple[bytes, bytes] | None = None
        self._process: Process | None = None
        self.is_light = False
        self._hook: AbstractContextManager[None] = nullcontext()

    def subject(self) -> Call[T]:
        """See `Stay.subject`."""
        return self._call

    def stopping(self) -> Sequence[Running]:
        """See `Stay.stopping`."""
        return self._call.stopping()

    def begin(self) -> bool:
        """See `Stay.begin`; of the threads that may go on with a call one does."""
        if self.is_light:
            return self._claimed.acquire(blocking=False)
        return self._call.begin()

    def end(
        self,
        error: BaseException | None = None,
        *,
        expected: tuple[type[BaseException], ...] = (),
    ) -> bool:
        """See `Stay.end`; whatever was lent is given back."""
        try:
            self._let_go()
        finally:
            is_late = self._call.end(error, expected=expected)
        return is_late

    def leave(self, error: BaseException | None = None) -> bool:
        """See `Stay.leave`."""
        return self._call.leave(error)

    def begin_lightly(self) -> bool:
        """Begin in this thread, if that is sure to take no time; tell whether that is so."""
        call = self._call
        if not is_light(call.func, call.args):
            return False
        try:
            packed = self._pack()
        except SerializationError:  # the thread will find out
            return False
        if sum(map(len, packed)) > SIZE or not self._fleet.take_warm(self._lend):
            return False
        call.begin()
        self._send(cast("Process", self._process))
        self.is_light = True
        return True

    def is_unattended(self) -> bool:
        """Tell whether it was begun lightly, has not ended, and no thread goes on with it."""
        return self.is_light and self._process is not None and not self._claimed.locked()

    async def answer(self) -> Frame | None:
        """Wait for the answer to a call that has begun lightly.

        On cancel: the call goes on.

        Returns:
            The answer; or None if it takes a thread to go on.
        """
        process = cast("Process", self._process)
        if process.ear is None:
            process.ear = ear_for(process)
        frame = await process.ear.answer()
        if frame is None:
            return None
        if len(frame.first) <= SIZE and looks_nothing_up(frame.first) and process.is_usable():
            self._call.revive()  # the two may have come in the same turn of the loop
            return frame
        process.put_back(frame)
        return None

    def run(self) -> T:
        """See `Stay.run`."""
        call, attempts = self._call, TRIES
        while True:
            attempts -= 1
            process = self._process
            try:
                if process is None:
                    process = self._start()
                return self.finish(cast("Frame", process.receive_within(None)))
            except GoneError as exc:
                process = cast("Process", process or self._process)
                if exc.returncode is None:
                    raise Stopped(call.token.reason) from None
                if not (process.collect() and attempts):
                    raise WorkerDied(call.name, process.pid, exc.returncode) from None
            finally:
                self._let_go()

    def finish(self, frame: Frame) -> T:
        """Give the result that was answered, or raise the error."""
        result: T = content_of(frame, self._call.function)
        return result

    def _start(self) -> Process:
        call = self._call
        self._pack()
        process = self._fleet.take(call.name)
        self._lend(process)
        if not process.pid:
            process.watch(1, call.token)
            process.start(call.name)
        self._send(process)
        return process

    def _lend(self, process: Process) -> None:
        self._process = process
        self._hook = Hook(self._call.token, process.wake, ())
        self._hook.__enter__()

    def _let_go(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._hook.__exit__(None, None, None)
            self._fleet.give(process)

    def _pack(self) -> tuple[bytes, bytes]:
        call = self._call
        if self._packed is None:
            arguments = pack(call.args, f"an argument of {call.function}()")
            self._packed = self._fleet.pack(call.func, call.function), arguments
        return self._packed

    def _send(self, process: Process) -> None:
        function, arguments = self._pack()
        call = self._call
        call.pid = process.pid
        process.watch(process.calls + 1, call.token)
        if call.on_begin is not None:
            call.on_begin()
        process.send(function, arguments)


LIGHT: Final = 4096
"""Characters or bytes of an argument that are sent in no time."""

FEW: Final = 16
"""Items of an argument that are looked at, to see whether it is sent in no time."""


def is_light(func: object, args: tuple[object, ...]) -> bool:
    """Tell whether to pickle a call runs no code but pickle's own, and not for long."""
    return is_plain(func) and _is_small(args, 2)


def _is_small(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in (int, float, bool, NoneType):
        return True
    if kind in (str, bytes):
        return len(cast("str", value)) <= LIGHT
    if kind not in (tuple, list, dict) or not depth:
        return False
    items = cast("Collection[object]", value)
    if kind is dict:
        items = [*items, *cast("dict[object, object]", value).values()]
    return len(items) <= FEW and all(_is_small(item, depth - 1) for item in items)


def content_of(frame: Frame, function: str) -> Any:
    """Give the result that a process has answered with, or raise the error."""
    if frame.code == Code.RAISED:
        raise_error(frame.first, f"{function}()")
    return unpack(frame.first, f"the result of {function}()")
