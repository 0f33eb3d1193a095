"""What runs in a worker process.

Rules of this room (DESIGN.md, 18 to 20):

- The main thread takes calls and answers them, one by one. Another one listens for what must be
  heard meanwhile: that a call is asked to stop, and that the parent is gone.
- Who begins a call says so and then looks whether it was asked to stop; who asks does it the
  other way round.
- Nothing is written on the standard streams. The listener kills this process and all that it has
  started when the parent goes; that it may be kept from running by who holds the GIL is why, where
  the system can, the parent has arranged for that before.

A worker is to its functions what a child of `multiprocessing` is, for it is one (DESIGN.md, 21):
`multiprocessing` unpickles a `Process` whose target is a `Boot`. What differs, and why:

- The parent does not list it in `active_children()`: whoever joins or terminates those, as an exit
  handler of `multiprocessing` does, must not end a worker under its call.
- It is never daemonic, as in a `ProcessPoolExecutor`: a call may have children of its own.
- It leads a process group and does nothing on SIGINT: Ctrl-C reaches the parent alone, and
  what a call has started can be ended with it.
- It gives up the controlling terminal: a group in the background is stopped where it touches that.
- The main module is imported when `parent_process()` is there already: an error in it is an answer.
- Standard output is flushed at the end of each line and of each call.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing import process, spawn
from typing import TYPE_CHECKING, Any, Final, final

from asyncrun._core.errors import Stopped
from asyncrun._core.registry import border, function_name
from asyncrun._core.stop import StopToken, by_thread, current
from asyncrun._system.cpu import usable_cores

from ...remote.serialization import pack, pack_error, unpack
from ..ipc.framing import Decoder, Frame, encode
from .parent_watch import start_watch, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Code(IntEnum):
    """What a frame from a worker process says."""

    READY = 0
    RETURNED = 1
    RAISED = 2


NO_LEAVE: Final = 256
"""In place of a generation: the call may begin."""


HURRY: Final = 0.0002
"""Seconds for which a process looks for its next call before it sleeps, if the last one came within
that time: for a core to be woken takes longer than all the rest of a short call."""


def may_hurry() -> bool:
    """Tell whether that is possible, and not at the cost of who is to send the call."""
    return hasattr(socket, "MSG_DONTWAIT") and hasattr(os, "sched_yield") and usable_cores() > 1


@final
@dataclass(frozen=True, slots=True)
class Boot:
    """What a worker process needs to know: the target of the `multiprocessing.Process` that it is.

    Attributes:
        calls: Where calls come in.
        answers: Where answers go out.
        control: Where it hears which call is asked to stop.
        credit: Where it gets the leave to begin a call.
        main: What `multiprocessing.spawn.prepare` wants to know to import the main module.
        page: A file of one byte that says whether the call that runs is likely to end soon after
            it is asked to stop; -1 if there is none.
    """

    calls: int | bytes
    answers: int | bytes
    control: int | bytes
    credit: int | bytes
    main: dict[str, Any]
    page: int = -1

    def __call__(self) -> None:
        """Serve the parent until it wants no more."""
        leave_terminal()
        handles = self.calls, self.answers, self.control, self.credit
        calls, answers, control, credit = map(_adopt, handles)
        # Without the class, and so the module, of `socket`: see `parent_watch`.
        heard = socket.SocketType(fileno=control.detach())
        serving = Serving(calls, answers, heard, credit, _map(self.page))
        hearers: list[Callable[[bytes], object]] = [serving.hear]
        start_watch(watch, (heard.recv, hearers, os.getpid()))
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Not SIG_IGN, which what is started here would inherit.
            signal.signal(signal.SIGINT, _do_nothing)
            getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # the parent wants no more
                if serving.start(self.main):
                    serving.serve()
        finally:  # nothing that finalization leaves alone leads to what the calls have left
            hearers.clear()
            by_thread.pop(threading.get_ident(), None)


def leave_terminal() -> None:
    """Give up the controlling terminal, so that whoever wants to use it gets an error at once.

    A group in the background would be stopped. To ignore SIGTTIN and SIGTTOU is no way out: ssh
    sets handlers of its own, and then asks for its passphrase again and again without an end.
    """
    if sys.platform != "win32":
        import fcntl  # noqa: PLC0415 - Windows has none
        import termios  # noqa: PLC0415 - nor this

        with suppress(OSError):  # there is no terminal
            terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
            try:
                fcntl.ioctl(terminal, termios.TIOCNOTTY)
            finally:
                os.close(terminal)


def _adopt(handle: int | bytes) -> socket.socket:
    if isinstance(handle, bytes):
        return socket.fromshare(handle)  # type: ignore[attr-defined, no-any-return, unused-ignore]
    os.set_inheritable(handle, False)  # noqa: FBT003
    return socket.socket(fileno=handle)


def _map(page: int) -> mmap.mmap | bytearray:
    if page == -1:
        return bytearray(1)
    try:
        return mmap.mmap(page, 1)
    finally:
        os.close(page)


def _do_nothing(_signum: int, _frame: FrameType | None) -> None:
    """Handle SIGINT."""


def _after_fork() -> None:
    if signal.getsignal(signal.SIGINT) is _do_nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@final
class Serving:
    """The two threads of a worker process, and what they share.

    Args:
        calls: See `Boot`.
        answers: See `Boot`.
        control: See `Boot`.
        credit: See `Boot`.
        byte: See `Boot`.

    Attributes:
        token: The stop flag of the call that runs, or of the last one.
    """

    token: StopToken

    def __init__(
        self,
        calls: socket.socket,
        answers: socket.socket,
        control: socket.SocketType,
        credit: socket.socket,
        byte: mmap.mmap | bytearray,
    ) -> None:
        self._calls = calls
        self._answers = answers
        self._control = control
        self._credit = credit
        self._byte = byte
        credit.settimeout(0)
        self._may_hurry = may_hurry()
        self._is_hurried = False
        self._held: int | None = None
        self._incoming = Decoder()
        self._asked = Decoder()
        self._func: Callable[..., Any] | None = None
        self._why: Exception | None = None
        self._name = ""
        self._pid = os.getpid()
        self._stopped: dict[int, str | None] = {}
        self._id = 0
        self._running: tuple[int, StopToken] | None = None
        self.token = StopToken()
        by_thread[threading.get_ident()] = self

    #
    # The main thread
    #

    def start(self, main: dict[str, Any]) -> bool:
        """Import the main module, run the initializer, and say whether that went well."""
        begin = self._next()
        if begin is None:
            return False
        here: Any = process.current_process()
        here._inheriting = True  # so that a main module that starts processes is told off
        what = "the main module"
        try:
            spawn.prepare(main)
            what = "the initializer"
            del here._inheriting
            if begin.first:
                initializer, args = unpack(begin.first, "the initializer")
                what = f"the initializer {function_name(initializer)}()"
                initializer(*args)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is sent
            answer = pack_error(exc, what), what.encode()
            self._answer(Frame(begin.id, Code.RAISED, *answer))
            return False  # noqa: ASYNC104 - here nothing is cancelled
        self._answer(Frame(begin.id, Code.READY, b""))
        return True

    def serve(self) -> None:
        """Run calls until the parent closes."""
        while (frame := self._next()) is not None:
            if frame.first:
                self._take_function(frame.first)
            if self._may_begin(frame.code):
                self._run(frame)

    def _next(self) -> Frame | None:
        while (frame := self._incoming.frame()) is None:
            if not (count := self._receive()):
                return None
            self._incoming.received(count)
        return frame

    def _receive(self) -> int:
        """Wait for bytes; do not sleep at once if the last ones came within no time."""
        room, start = self._incoming.room(), time.monotonic()
        if self._is_hurried:
            while time.monotonic() - start < HURRY:
                try:
                    return self._calls.recv_into(room, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    os.sched_yield()
        count = self._calls.recv_into(room)
        self._is_hurried = self._may_hurry and time.monotonic() - start < HURRY
        return count

    def _take_function(self, content: memoryview | bytes) -> None:
        self._why = None
        try:
            self._func = unpack(content, "the function")
            self._name = function_name(self._func)
        except Exception as exc:  # noqa: BLE001 - each call of it fails
            self._why, self._name = exc, "the function"

    def _may_begin(self, generation: int) -> bool:
        """Tell whether a call was not called back meanwhile; if so, nobody else gets it any more.

        What was called back is still among what was received. The leaves of a generation are for
        the calls of that generation, so that no call begins with that of a later one.
        """
        if generation == NO_LEAVE:
            return True
        if self._held is None:
            try:
                self._held = self._credit.recv(1)[0]
            except (BlockingIOError, IndexError):
                return False
        if self._held != generation:
            return False
        self._held = None
        return True

    def _run(self, frame: Frame) -> None:
        started = time.perf_counter_ns()
        try:
            result = copy_context().run(self._call, frame)
            code, content = Code.RETURNED, pack(result, f"the result of {self._name}()")
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is sent
            code, content = Code.RAISED, pack_error(exc, f"{self._name}()")
        finally:
            self._running = None
        if os.getpid() != self._pid:  # a fork that has not ended where it should
            os._exit(0)
        result = None
        try:  # noqa: SIM105 - suppress() is slow
            sys.stdout.flush()
        except Exception:  # noqa: BLE001, S110 - there may be none, or a closed one
            pass
        spent = (time.perf_counter_ns() - started).to_bytes(8, "little")
        self._answer(Frame(frame.id, code, content, spent))

    @border
    def _call(self, frame: Frame) -> object:
        if self._why is not None:
            raise self._why.with_traceback(None)
        assert self._func is not None  # noqa: S101 - the first frame brings it
        self._byte[0] = 0
        self.token = token = StopToken(self._tell)
        current.set(token)
        self._running = (frame.id, token)
        self._id = frame.id
        if frame.id in self._stopped:
            raise Stopped(self._stopped[frame.id])
        return self._func(*unpack(frame.second, f"an argument of {self._name}()"))

    def _tell(self) -> None:
        self._byte[0] = 1

    def _answer(self, frame: Frame) -> None:
        for content in encode(frame):
            self._answers.sendall(content)

    #
    # The other one, see `parent_watch`
    #

    def hear(self, content: bytes) -> None:
        """Stop calls when that is asked for.

        Args:
            content: What the parent says: any part of the bytes of frames.
        """
        asked = self._asked
        while content:
            room = asked.room()
            count = min(len(room), len(content))
            room[:count], content = content[:count], content[count:]
            asked.received(count)
            while (frame := asked.frame()) is not None:
                with suppress(BaseException):  # what a callback raises must not end this
                    self._stop(frame)

    def _stop(self, frame: Frame) -> None:
        reason = str(frame.first, "utf-8", "replace") if frame.code else None
        for key in list(self._stopped):
            if key < self._id:
                del self._stopped[key]
        if frame.id > self._id:
            self._stopped[frame.id] = reason
        running = self._running
        runs = running is not None and running[0] == frame.id
        heeds = running is None or not runs or running[1]._heeds()
        for content in encode(Frame(frame.id, heeds, b"")):
            self._control.sendall(content)
        if running is not None and runs:
            running[1]._stop(reason)
