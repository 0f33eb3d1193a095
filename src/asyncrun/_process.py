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
import selectors
import socket
import time
import weakref
from contextlib import suppress
from multiprocessing import process as this_process
from typing import TYPE_CHECKING, Final, Protocol, final

from ._child import NO_LEAVE, Boot, Code
from ._errors import NotStartedError, ending, first_of
from ._frames import Decoder, Frame, encode
from ._parcels import pack, raise_error
from ._spawn import TERM_PATIENCE, Inheritance, end_group, launch, wait_until
from ._stop import StopToken

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    Initializer = tuple[Callable[..., object], tuple[object, ...]]

ANSWER_PATIENCE: Final = 0.05
"""Seconds in which a worker must say whether its call has met a safe point: if it does not, the
call holds the GIL. CPython hands the GIL over every 0.005 s."""

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
        pid: Its id, and that of its process group; 0 before it is started.
        calls: How many calls were sent.
        function: The function, packed, that it knows already.
        has_ended: Whether it is known to have ended.
        ear: What hears it in an event loop, if anything does.
        startle: Wakes that one, from any thread and from a signal handler.
    """

    pid: int
    calls: int
    function: bytes
    has_ended: bool
    ear: Ear | None
    startle: Callable[[], None]

    def __init__(self, initializer: Initializer | None, grace: float) -> None:
        self.pid = 0
        self.calls = 0
        self.function = b""
        self._unbegun = 0
        self._initializer = initializer
        self._grace = grace
        self._popen: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._wake, self._woken = socket.socketpair()
        self._sockets = [self._wake, self._woken]
        for end in self._sockets:
            end.settimeout(0)
        self._selector = selectors.DefaultSelector()
        self._fileno: int = getattr(self._selector, "fileno", lambda: -1)()
        self._answers = Decoder()
        self._replies = Decoder()
        self._id = 0
        self._generation = 0
        self._token = StopToken()
        self._asked = 0.0
        self._deadline: float | None = None
        self.has_ended = False
        self.ear = None
        self.startle = _do_nothing
        self._back: Frame | None = None
        _processes.add(self)

    #
    # Its life
    #

    def start(self, name: str) -> None:
        """Start it, and wait until it is ready.

        Args:
            name: The call that it is for.

        Raises:
            NotStartedError: That was not possible (a `RuntimeError`).
            NotSendableError: The initializer cannot be pickled (a `TypeError`).
            GoneError: The call was asked to stop meanwhile.
        """
        inheritance, initializer = Inheritance(), b""
        try:
            if self._initializer is not None:
                initializer = pack(self._initializer, "the initializer", inheritance.pickle)
            self._launch(inheritance)
        except OSError as exc:
            self.end()
            raise NotStartedError(name, str(exc)) from exc
        except _ImportingError as exc:
            self.end()
            raise NotStartedError(name, str(exc)) from None
        try:
            self._push(encode(Frame(0, 0, initializer)))
            frame = self.receive_within(None)
            if frame is not None and frame.code == Code.RAISED:
                self._raise_failure(name, frame)
        except GoneError as exc:
            if exc.returncode is None:
                raise
            how = ending(max(exc.returncode, 0), -min(exc.returncode, 0) or None)
            raise NotStartedError(name, f"it {how} as it began") from None

    def _launch(self, inheritance: Inheritance) -> None:
        if getattr(this_process.current_process(), "_inheriting", False):
            raise _ImportingError
        self._data, data = self._pair()
        self._control, control = self._pair()
        # Both ends are here, and one of them there as well.
        self._credit, self._leaves = self._pair()
        self._leaves.settimeout(0)
        try:
            self._popen, self._lifeline = launch((data, control, self._leaves), Boot, inheritance)
        finally:
            data.close()
            control.close()
        self.pid = self._popen.pid
        self._selector.register(self._data, selectors.EVENT_READ)
        self._selector.register(self._control, selectors.EVENT_READ, self._hear)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        mine, other = socket.socketpair()
        self._sockets += [mine, other]
        mine.settimeout(0)
        return mine, other

    def _raise_failure(self, name: str, frame: Frame) -> None:
        what = str(frame.second, "utf-8")
        try:
            raise_error(frame.first, what)
        except BaseException as exc:
            self.end()
            raise NotStartedError(name, f"there {what} raised {first_of(exc)!r}") from exc  # noqa: ASYNC104 - it came in a message

    def is_alive(self) -> bool:
        """Tell whether it can take calls."""
        return self._popen is not None and self._popen.poll() is None

    def retire(self) -> None:
        """Let it exit by itself; then `end` it."""
        with suppress(OSError):
            self._data.shutdown(socket.SHUT_WR)

    def end(self, patience: float = 0.0) -> int:
        """See to it that it has ended, with all that it has started.

        Args:
            patience: Seconds that it may take to exit by itself.

        Returns:
            Its return code.
        """
        popen = self._popen
        self.has_ended = True
        if popen is None:
            self.forget()
            return 0
        try:
            if patience:
                wait_until(lambda: popen.poll() is not None, patience)
            end_group(popen)
            return popen.returncode if popen.returncode is not None else 0
        finally:
            self.forget()

    def forget(self) -> None:
        """Close what leads to it."""
        if self.ear is not None:
            self.ear.close()
            self.ear, self.startle = None, _do_nothing
        self._selector.close()
        for end in self._sockets:
            end.close()
        if self._lifeline != -1:
            os.close(self._lifeline)
            self._lifeline = -1

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
        first, self.function = b"" if function is self.function else function, function
        if not self._push(encode(Frame(self.calls, NO_LEAVE, first, arguments))):
            self._unbegun += 1

    def send_ahead(self, calls: Sequence[bytes]) -> None:
        """Send more calls of the same function.

        Args:
            calls: For each its arguments, packed; all together no more than a socket holds.
        """
        self._credit.send(bytes((self._generation,)) * len(calls))
        key, self.calls = self.calls + 1, self.calls + len(calls)
        frames = [Frame(key + i, self._generation, b"", each) for i, each in enumerate(calls)]
        self._push([b"".join(piece for frame in frames for piece in encode(frame))])

    def recall(self) -> None:
        """Take back those calls, the last ones, that have not begun, for `collect`."""
        with suppress(BlockingIOError):
            self._unbegun += len(self._leaves.recv(4096))
            self._generation = (self._generation + 1) % 256

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
        self._id = key
        self._token = token
        self._asked = 0.0
        self._deadline = None

    def wake(self) -> None:
        """Look at the stop flag; from any thread and from a signal handler."""
        with suppress(OSError):  # there is something in it already, or it is closed
            self._wake.send(b"!")
        self.startle()

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
        while (frame := self.receive_now()) is None:
            if self.has_ended:
                raise GoneError(self._bury())
            if not self._wait(until):
                return None
        return frame

    def receive_now(self) -> Frame | None:
        """Give the answer if it is there."""
        if (back := self._back) is not None:
            self._back = None
            return back
        while (frame := self._answers.frame()) is None:
            try:
                count = self._data.recv_into(self._answers.room())
            except BlockingIOError:
                return None
            except OSError:
                count = 0
            if not count:
                self.has_ended = True
                return None
            self._answers.received(count)
        return frame

    def put_back(self, frame: Frame) -> None:
        """Let the next one have the answer that has come."""
        self._back = frame

    def is_asked(self) -> bool:
        """Tell whether the call is asked to stop."""
        return self._token._set

    def dup(self) -> socket.socket:
        """Give another descriptor of what is readable when there is an answer."""
        return self._data.dup()

    def look(self) -> bool:
        """Hear what else there is to hear; tell whether it is certain that an answer will come."""
        for key, _ in self._selector.select(0):
            if key.data is not None:
                key.data()
        return not self.has_ended and not self._token._set

    def fileno(self) -> int:
        """Give what is readable when it may be worth looking again; -1 where there is none."""
        return self._fileno

    def _push(self, contents: Sequence[memoryview | bytes]) -> bool:
        """Send bytes; tell whether all of them went off."""
        for content in contents:
            rest = content
            while rest:
                try:
                    if (count := self._data.send(rest)) == len(rest):
                        break
                    rest = memoryview(rest)[count:]
                except BlockingIOError:
                    self._selector.modify(self._data, selectors.EVENT_WRITE)
                    self._wait(None)
                    self._selector.modify(self._data, selectors.EVENT_READ)
                except OSError:  # it has ended: that is seen when all that it has said was read
                    return False
        return True

    def _wait(self, until: float | None) -> bool:
        """Wait until the process has said something, or takes more; tell whether it was in time."""
        while True:
            if self._token._set and not self._asked:
                self._ask()
                if self._unbegun:
                    return False
            now = time.monotonic()
            limits = [now + LOOK, self._deadline or now + LOOK, until or now + LOOK]
            events = self._selector.select(max(0.0, min(limits) - now))
            for key, _ in events:
                if key.data is None:
                    return True
                key.data()
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self.end()
                raise GoneError(None)
            if until is not None and now >= until:
                return False
            if not events and not self.is_alive():
                raise GoneError(self._bury())

    def _bury(self) -> int:
        """Give the return code of a process that has closed its end."""
        popen = self._popen
        if popen is not None:
            wait_until(lambda: popen.poll() is not None, TERM_PATIENCE)
        self.recall()
        return self.end()

    #
    # The ladder
    #

    def _ask(self) -> None:
        self._asked = self._deadline = time.monotonic()
        if not self.calls:  # it is not ready: there is no call to wait for
            return
        self.recall()  # first, so that none of them is in its place when it ends
        reason = self._token.reason
        text = b"" if reason is None else reason.encode("utf-8", "replace")[:SHORT]
        try:
            for content in encode(Frame(self._id, reason is not None, text)):
                self._control.send(content)
        except OSError:  # it does not listen
            return
        self._deadline += ANSWER_PATIENCE

    def _hear(self) -> None:
        """Hear whether the call is likely to end by itself."""
        try:
            count = self._control.recv_into(self._replies.room())
        except OSError:
            count = 0
        if not count:
            self._selector.unregister(self._control)
        self._replies.received(count)
        while (frame := self._replies.frame()) is not None:
            if frame.id == self._id and self._asked:
                self._deadline = self._asked + (self._grace if frame.code else 0.0)

    def _drain(self) -> None:
        with suppress(OSError):
            self._woken.recv(4096)


SHORT: Final = 4096
"""Bytes of a reason that are sent."""


class _ImportingError(Exception):
    def __str__(self) -> str:
        return (
            "this is a worker process, which imports the main module, and that starts the program"
            " once more; put what starts it below `if __name__ == '__main__':`"
        )


def _do_nothing() -> None:
    pass


_processes: Final[weakref.WeakSet[Process]] = weakref.WeakSet()


def _after_fork() -> None:
    """Close, in a child that was forked, what leads to the parent's workers."""
    for process in list(_processes):
        process.forget()


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing
