"""The main function of a worker process.

Rules of this module (rules 18 to 20):

- The main thread takes calls and sends their responses, one by one. The control thread reads stop
  requests meanwhile, and sees the end of the parent.
- The main thread: publish the running call, then read the stop request.
  The control thread: record the stop request, then read the running call. One of the two always
  sees the other.
- Nothing is written on the standard streams. The control thread kills the process group when the
  parent goes. It cannot run while another thread holds the GIL, so on Linux the kernel does it too
  (see `process_group`).

A worker is to its functions what a child of `multiprocessing` is, for it is one (rule 21):
`multiprocessing` unpickles a `WorkerProcess` whose target is a `WorkerBootstrap`. What differs, and
why:

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
from multiprocessing import process, spawn
from typing import TYPE_CHECKING, Any, Final, final

from asyncrun._core.current import current_token, token_by_thread
from asyncrun._core.errors import Stopped
from asyncrun._core.registry import user_code_entry
from asyncrun._core.report import function_name
from asyncrun._core.stop import StopFlag, StopToken
from asyncrun._system.cpu import usable_cores

from ...remote.serialization import dump_error, dumps, loads
from ..ipc.framing import Decoder, Frame, encode
from ..ipc.protocol import NO_PERMIT, Code
from .parent_watch import start_watch, watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


SPIN_TIME: Final = 0.0002
"""Seconds for which a process looks for its next call before it sleeps, if the last one came within
that time: for a core to be woken takes longer than all the rest of a short call."""


def can_spin() -> bool:
    """Return whether spinning is possible, and takes no core from the process that sends."""
    return hasattr(socket, "MSG_DONTWAIT") and hasattr(os, "sched_yield") and usable_cores() > 1


@final
@dataclass(frozen=True, slots=True)
class WorkerBootstrap:
    """All that a worker process is told: the target of the `multiprocessing.Process` that it is.

    Attributes:
        calls: Where calls come in.
        responses: Where answers go out.
        control: Where it hears which call is asked to stop.
        permits: Where it gets the leave to begin a call.
        main: What `multiprocessing.spawn.prepare` wants to know to import the main module.
        shared_flag_fd: A file of one byte that says whether the call that runs is likely to end
            soon after it is asked to stop; -1 if there is none.
    """

    calls: int | bytes
    responses: int | bytes
    control: int | bytes
    permits: int | bytes
    main: dict[str, Any]
    shared_flag_fd: int = -1

    def __call__(self) -> None:
        """Serve the parent until it wants no more."""
        leave_terminal()
        handles = self.calls, self.responses, self.control, self.permits
        calls, responses, control, permits = map(_open_socket, handles)
        # Without the class, and so the module, of `socket`: see `parent_watch`.
        heard = socket.SocketType(fileno=control.detach())
        worker = WorkerMain(calls, responses, heard, permits, _map_flag(self.shared_flag_fd))
        hearers: list[Callable[[bytes], object]] = [worker.hear]
        start_watch(watch, (heard.recv, hearers, os.getpid()))
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Not SIG_IGN, which what is started here would inherit.
            signal.signal(signal.SIGINT, _do_nothing)
            getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # see `spawn`
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # the parent wants no more
                if worker.initialize(self.main):
                    worker.call_loop()
        finally:  # nothing that finalization leaves alone leads to what the calls have left
            hearers.clear()
            token_by_thread.pop(threading.get_ident(), None)


def leave_terminal() -> None:
    """Detach from the controlling terminal, so that its use is an error at once.

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


def _open_socket(handle: int | bytes) -> socket.socket:
    if isinstance(handle, bytes):
        return socket.fromshare(handle)  # type: ignore[attr-defined, no-any-return, unused-ignore]
    os.set_inheritable(handle, False)  # noqa: FBT003
    return socket.socket(fileno=handle)


def _map_flag(flag_fd: int) -> mmap.mmap | bytearray:
    if flag_fd == -1:
        return bytearray(1)
    try:
        return mmap.mmap(flag_fd, 1)
    finally:
        os.close(flag_fd)


def _do_nothing(_signum: int, _frame: FrameType | None) -> None:
    """Handle SIGINT."""


def _after_fork() -> None:
    if signal.getsignal(signal.SIGINT) is _do_nothing:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@final
class WorkerMain:
    """The two threads of a worker process, and what they share.

    Args:
        calls: See `WorkerBootstrap`.
        responses: See `WorkerBootstrap`.
        control: See `WorkerBootstrap`.
        permits: See `WorkerBootstrap`.
        shared_flag: See `WorkerBootstrap`.

    Attributes:
        token: The stop flag of the call that runs, or of the last one.
    """

    token: StopToken

    def __init__(
        self,
        calls: socket.socket,
        responses: socket.socket,
        control: socket.SocketType,
        permits: socket.socket,
        shared_flag: mmap.mmap | bytearray,
    ) -> None:
        self._calls = calls
        self._responses = responses
        self._control = control
        self._permits = permits
        self._shared_flag = shared_flag
        permits.settimeout(0)
        self._can_spin = can_spin()
        self._should_spin = False
        self._unused_permit: int | None = None
        self._incoming = Decoder()
        self._asked = Decoder()
        self._func: Callable[..., Any] | None = None
        self._load_error: Exception | None = None
        self._name = ""
        self._pid = os.getpid()
        self._stopped: dict[int, str | None] = {}
        self._call_id = 0
        self._running: tuple[int, StopToken] | None = None
        self.token = StopFlag()
        token_by_thread[threading.get_ident()] = self

    #
    # The main thread
    #

    def initialize(self, main: dict[str, Any]) -> bool:
        """Import the main module, run the initializer, and say whether that went well."""
        begin = self._next()
        if begin is None:
            return False
        here: Any = process.current_process()
        here._inheriting = True  # so that a main module that starts processes is told off
        subject = "the main module"
        try:
            spawn.prepare(main)
            subject = "the initializer"
            del here._inheriting
            if begin.body:
                initializer, args = loads(begin.body, "the initializer")
                subject = f"the initializer {function_name(initializer)}()"
                initializer(*args)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is sent
            answer = dump_error(exc, subject), subject.encode()
            self._send_response(Frame(begin.call_id, Code.RAISED, *answer))
            return False  # noqa: ASYNC104 - here nothing is cancelled
        self._send_response(Frame(begin.call_id, Code.READY, b""))
        return True

    def call_loop(self) -> None:
        """Run calls until the parent closes."""
        while (frame := self._next()) is not None:
            if frame.body:
                self._take_function(frame.body)
            if self._take_permit(frame.code):
                self._run(frame)

    def _next(self) -> Frame | None:
        while (frame := self._incoming.next_frame()) is None:
            if not (count := self._receive()):
                return None
            self._incoming.buffer_updated(count)
        return frame

    def _receive(self) -> int:
        """Wait for bytes; do not sleep at once if the last ones came within no time."""
        buffer, start = self._incoming.get_buffer(), time.monotonic()
        if self._should_spin:
            while time.monotonic() - start < SPIN_TIME:
                try:
                    return self._calls.recv_into(buffer, 0, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    os.sched_yield()
        count = self._calls.recv_into(buffer)
        self._should_spin = self._can_spin and time.monotonic() - start < SPIN_TIME
        return count

    def _take_function(self, content: memoryview | bytes) -> None:
        self._load_error = None
        try:
            self._func = loads(content, "the function")
            self._name = function_name(self._func)
        except Exception as exc:  # noqa: BLE001 - each call of it fails
            self._load_error, self._name = exc, "the function"

    def _take_permit(self, epoch: int) -> bool:
        """Return whether the call may start, and take its permit.

        Revoked calls are still in the receive buffer. So a permit carries its epoch, and no call
        starts with a permit of a later epoch than its own.
        """
        if epoch == NO_PERMIT:
            return True
        if self._unused_permit is None:
            try:
                self._unused_permit = self._permits.recv(1)[0]
            except (BlockingIOError, IndexError):
                return False
        if self._unused_permit != epoch:
            return False
        self._unused_permit = None
        return True

    def _run(self, frame: Frame) -> None:
        started = time.perf_counter_ns()
        try:
            result = copy_context().run(self._call, frame)
            code, content = Code.RETURNED, dumps(result, f"the result of {self._name}()")
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is sent
            code, content = Code.RAISED, dump_error(exc, f"{self._name}()")
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
        self._send_response(Frame(frame.call_id, code, content, spent))

    @user_code_entry
    def _call(self, frame: Frame) -> object:
        if self._load_error is not None:
            raise self._load_error.with_traceback(None)
        assert self._func is not None  # noqa: S101 - the first frame brings it
        self._shared_flag[0] = 0
        self.token = token = StopFlag(self._set_shared_flag)
        current_token.set(token)
        self._running = (frame.call_id, token)
        self._call_id = frame.call_id
        if frame.call_id in self._stopped:
            raise Stopped(self._stopped[frame.call_id])
        return self._func(*loads(frame.extra, f"an argument of {self._name}()"))

    def _set_shared_flag(self) -> None:
        self._shared_flag[0] = 1

    def _send_response(self, frame: Frame) -> None:
        for content in encode(frame):
            self._responses.sendall(content)

    #
    # The other one, see `parent_watch`
    #

    def hear(self, content: bytes) -> None:
        """Stop calls when that is asked for.

        Args:
            content: What the parent says: any part of the bytes of frames.
        """
        decoder = self._asked
        while content:
            room = decoder.get_buffer()
            count = min(len(room), len(content))
            room[:count], content = content[:count], content[count:]
            decoder.buffer_updated(count)
            while (frame := decoder.next_frame()) is not None:
                with suppress(BaseException):  # what a callback raises must not end this
                    self._stop(frame)

    def _stop(self, frame: Frame) -> None:
        reason = str(frame.body, "utf-8", "replace") if frame.code else None
        for call_id in list(self._stopped):
            if call_id < self._call_id:
                del self._stopped[call_id]
        if frame.call_id > self._call_id:
            self._stopped[frame.call_id] = reason
        running = self._running
        runs = running is not None and running[0] == frame.call_id
        is_cooperative = running is None or not runs or running[1]._is_cooperative()
        for content in encode(Frame(frame.call_id, is_cooperative, b"")):
            self._control.sendall(content)
        if running is not None and runs:
            running[1]._stop(reason)
