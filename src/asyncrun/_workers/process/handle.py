"""One worker process, as its parent sees it.

Rules of this room (DESIGN.md, 18 to 20):

- A process belongs to one thread at a time, which sends it calls and waits for the answers. While
  it waits it goes down the ladder if the call is asked to stop: the flag; time, for a call that
  has met a safe point; SIGTERM to the process group; SIGKILL to it. So whoever has the process
  next finds it with nothing to do, or not at all.
- What a process has started ends with it, unless it has left its process group.
- A call that is sent while another one runs begins with a leave, which its worker takes from a
  socket. What is still in there can be taken back, at any time, by a parent whose worker is stuck
  or dead: what was sent and has not begun is known for certain.
"""

from __future__ import annotations

import os
import time
import weakref
from functools import partial
from multiprocessing import process as this_process
from typing import TYPE_CHECKING, Final, Protocol, final

from ..._core.errors import WorkerStartError, ending, first_of
from ..._core.stop import StopToken
from ..remote.serialization import pack, raise_error
from .child.main import NO_LEAVE, Boot, Code
from .ipc.channels import Heard, Wire
from .ipc.framing import Frame, encode
from .spawn import TERM_PATIENCE, Inheritance, end_group, launch, wait_until
from .stop_sequence import Ladder

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    Initializer = tuple[Callable[..., object], tuple[object, ...]]

LOOK: Final = 1.0
"""Seconds between two looks whether a process lives whose end of a socket a fork may hold."""


@final
class GoneError(Exception):
    """The process has ended.

    Args:
        returncode: How, as `subprocess.Popen.returncode` says it; None if it was ended here.
    """

    def __init__(self, returncode: int | None) -> None:
        super().__init__(returncode)
        self.returncode = returncode


class Ear(Protocol):
    """What hears, in an event loop, that a process has answered."""

    async def answer(self) -> Frame | None:
        """Wait for an answer.

        On cancel: nothing is lost.

        Returns:
            The answer; None if the process has ended, or its call is asked to stop.
        """
        ...

    def close(self) -> None:
        """Hear no more; from any thread."""
        ...


@final
class Process:
    """A worker process.

    Args:
        initializer: What it does first: a function and its arguments; or None.
        grace: Seconds for a call that has met a safe point, after it was asked to stop.

    Attributes:
        wire: What leads to it.
        pid: Its id, and that of its process group; 0 before it is started.
        calls: How many calls were sent: the id of the last one.
        used: How many of them were not taken back.
        function: The function, packed, that it knows already.
        ear: What hears it in an event loop, if anything does.
        startle: Wakes that one, from any thread and from a signal handler.

    Raises:
        OSError: There are no more descriptors.
    """

    wire: Wire
    pid: int
    calls: int
    used: int
    function: bytes
    ear: Ear | None
    startle: Callable[[], None]

    def __init__(self, initializer: Initializer | None, grace: float) -> None:
        self.wire = Wire()
        self.pid = 0
        self.calls = 0
        self.used = 0
        self.function = b""
        self.ear = None
        self.startle = _do_nothing
        self._unbegun = 0
        self._initializer = initializer
        self._grace = grace
        self._popen: subprocess.Popen[bytes] | None = None
        self._held: tuple[int, ...] = ()
        self._generation = 0
        self._owed = 0
        self._back: Frame | None = None
        self._has_gone = False
        self.watch(0, StopToken())
        _processes.add(self)

    #
    # Its life
    #

    def start(self, name: str) -> None:
        """Start it, and wait until it is ready.

        Args:
            name: The call that it is for.

        Raises:
            WorkerStartError: That was not possible (a `RuntimeError`).
            SerializationError: The initializer cannot be pickled (a `TypeError`).
            GoneError: The call was asked to stop meanwhile.
        """
        initializer = self._launch(name)
        try:
            self._push(encode(Frame(0, 0, initializer)))
            frame = self.receive_within(None)
        except GoneError as exc:
            if exc.returncode is None:
                raise
            how = ending(max(exc.returncode, 0), -min(exc.returncode, 0) or None)
            raise WorkerStartError(name, f"it {how} as it began") from None
        if frame is not None and frame.code == Code.RAISED:
            what = str(frame.second, "utf-8")
            try:
                raise_error(frame.first, what)
            except BaseException as exc:  # noqa: ASYNC103 - it came in a message
                self.end()
                error = first_of(exc)
                why = f"there {what} raised {type(error).__name__}: {error}"
                if isinstance(error, WorkerStartError):
                    why = error.why
                raise WorkerStartError(name, why) from exc  # noqa: ASYNC104

    def _launch(self, name: str) -> bytes:
        """Start it, and give the initializer as it is to be sent."""
        if getattr(this_process.current_process(), "_inheriting", False):
            raise WorkerStartError(name, IMPORTING)
        inheritance, initializer = Inheritance(), b""
        if self._initializer is not None:
            initializer = pack(self._initializer, "the initializer", inheritance.pickle)
        try:
            boot = partial(Boot, page=inheritance.add(self.wire.page))
            self._popen, self._held = launch(self.wire.theirs, boot, inheritance)
        except OSError as exc:
            raise WorkerStartError(name, str(exc)) from exc
        self.pid = self._popen.pid
        self.wire.connect(self.pid)
        self._owed = 1
        return initializer

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._popen is not None and self._popen.poll() is None

    def is_usable(self) -> bool:
        """Tell whether it may take another call, as far as is known."""
        return self.pid != 0 and not self.wire.has_ended and not self._owed

    def retire(self) -> None:
        """Let it exit by itself; then `end` it."""
        self.wire.shut_down()

    def end(self, patience: float = 0.0) -> int:
        """See to it that it has ended, with all that it has started.

        Args:
            patience: Seconds that it may take to exit by itself.

        Returns:
            Its return code.
        """
        popen = self._popen
        self.wire.has_ended = True
        if popen is None or self._has_gone:  # its id may be that of another one by now
            self.forget()
            return popen.returncode or 0 if popen is not None else 0
        try:
            wait_until(lambda: popen.poll() is not None, patience)
            end_group(popen)
            self._has_gone = True
            return popen.returncode or 0
        finally:
            self.forget()

    def forget(self) -> None:
        """Close what leads to it."""
        if self.ear is not None:
            self.ear.close()
            self.ear, self.startle = None, _do_nothing
        self.wire.close()
        held, self._held = self._held, ()
        for fd in held:
            os.close(fd)

    #
    # Calls
    #

    def send(self, function: bytes, arguments: bytes) -> None:
        """Send a call that may begin at once; no other one is unanswered.

        Args:
            function: The function, packed.
            arguments: Its arguments, packed.
        """
        self.calls += 1
        self.used += 1
        self._owed += 1
        first, self.function = b"" if function is self.function else function, function
        try:
            is_sent = self._push(encode(Frame(self.calls, NO_LEAVE, first, arguments)))
        except GoneError:
            self._unbegun += 1
            raise
        self._unbegun += not is_sent

    def send_ahead(self, calls: Sequence[bytes]) -> None:
        """Send more calls of the same function.

        Args:
            calls: For each its arguments, packed; all together no more than a socket holds.
        """
        self.wire.give_leaves(self._generation, len(calls))
        self._owed += len(calls)
        self.used += len(calls)
        key, self.calls = self.calls + 1, self.calls + len(calls)
        frames = [Frame(key + i, self._generation, b"", each) for i, each in enumerate(calls)]
        self._push([b"".join(piece for frame in frames for piece in encode(frame))])

    def recall(self) -> None:
        """Take back those calls, the last ones, that have not begun, for `collect`."""
        if count := self.wire.take_leaves():
            self._unbegun += count
            self._owed -= count
            self.used -= count
            self._generation = (self._generation + 1) % NO_LEAVE

    def collect(self) -> int:
        """Tell how many calls, the last ones, were taken back since this was asked."""
        count, self._unbegun = self._unbegun, 0
        return count

    def watch(self, key: int, token: StopToken) -> None:
        """Go down the ladder, from now on, when this call is asked to stop.

        Args:
            key: Its id.
            token: Its stop flag; to set it must `wake` this.
        """
        self._ladder = Ladder(key, token, self._grace)

    def wake(self) -> None:
        """Look at the stop flag; from any thread and from a signal handler."""
        self.wire.wake()
        self.startle()

    def is_asked(self) -> bool:
        """Tell whether the call is asked to stop."""
        return self._ladder.is_set()

    def look(self) -> bool:
        """Tell, when there is something to hear, whether an answer is still sure to come."""
        heard = self.wire.select(0)
        if Heard.REPLY in heard:
            self._hear_replies()
        if Heard.END in heard and Heard.ANSWER not in heard:
            self.wire.has_ended = True
        return not self.wire.has_ended and not self.is_asked()

    def answer(self) -> Frame | None:
        """Give an answer if it is there."""
        frame, self._back = self._back or self.wire.answer(), None
        self._owed -= frame is not None
        return frame

    def put_back(self, frame: Frame) -> None:
        """Let the next one have the answer that has come."""
        self._back = frame
        self._owed += 1

    def receive_within(self, seconds: float | None) -> Frame | None:
        """Wait for an answer.

        Args:
            seconds: For so long at most; None waits without limit.

        Returns:
            The answer; None if there was none in time, or a call was taken back.

        Raises:
            GoneError: The process has ended, or was ended, as the call was asked to stop.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            has_ended = self.wire.has_ended  # before the look: it may have answered and ended
            if (frame := self.answer()) is not None:
                return frame
            if has_ended:
                raise GoneError(self._bury())
            if not self.wire.has_ended and not self._wait(until):
                return None

    def _push(self, contents: Sequence[memoryview | bytes]) -> bool:
        """Send bytes; tell whether all of them went off."""
        for content in contents:
            rest = content
            while rest:
                try:
                    if (count := self.wire.send(rest)) == len(rest):
                        break
                    rest = memoryview(rest)[count:]
                except BlockingIOError:
                    self._wait(None, to_send=True)
                except OSError:  # it has ended: that is seen when all that it has said was read
                    return False
        return True

    def _wait(self, until: float | None, *, to_send: bool = False) -> bool:
        """Wait until the process has said something, or takes more; tell whether it was in time."""
        while True:
            if self._ladder.is_to_ask():
                self._ask()
                if self._unbegun:
                    return False
            now = time.monotonic()
            limits = [now + LOOK, self._ladder.deadline or now + LOOK, until or now + LOOK]
            heard = self.wire.select(max(0.0, min(limits) - now), to_send=to_send)
            if heard & (Heard.ANSWER | Heard.ROOM):
                return True
            if Heard.REPLY in heard:
                self._hear_replies()
            if self._ladder.is_over(self.wire.heeds):
                self.recall()
                self.end()
                raise GoneError(None)
            if until is not None and time.monotonic() >= until:
                return False
            if Heard.END in heard or (not heard and not self.is_alive()):
                raise GoneError(self._bury())

    def _bury(self) -> int:
        """Give the return code of a process that has closed its end."""
        wait_until(lambda: not self.is_alive(), TERM_PATIENCE)
        self.recall()
        return self.end()

    def _ask(self) -> None:
        self._ladder.begin()
        if self.calls:  # else it is not ready: there is no call to wait for
            self.recall()  # first, so that none of them is in its place when it ends
            self._ladder.ask(self.wire.ask)

    def _hear_replies(self) -> None:
        for frame in self.wire.replies():
            self._ladder.hear(frame)


IMPORTING: Final = (
    "it imports the main module, which starts the program once more; "
    "put what starts it below `if __name__ == '__main__':`"
)


def _do_nothing() -> None:
    pass


_processes: Final[weakref.WeakSet[Process]] = weakref.WeakSet()


def _after_fork() -> None:
    """Close, in a child that was forked, what leads to the parent's workers."""
    for process in list(_processes):
        process.forget()


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing
