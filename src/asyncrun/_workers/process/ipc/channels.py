"""The sockets between this process and a worker process, from this end.

Rules of this module:

- Only `ProcessChannels.select` waits, and no function here knows what the messages mean.
- There are five pairs: calls (to the worker); responses (from it); control (stop requests and their
  acknowledgements); permits (the parent keeps both ends); wake-up (interrupts `select`).
- Whether the running call is cooperative is a byte in shared memory, where the system has that: the
  worker's thread can set it, and the parent read it, while another thread holds the worker's GIL.
- Calls and responses use separate pairs. Reading from a Unix socket also wakes a peer that is
  blocked in `recv` on that pair, because the kernel reports free buffer space: that would be one
  spurious wake-up for each response.
"""

from __future__ import annotations

import mmap
import os
import selectors
import socket
from contextlib import suppress
from enum import Flag, auto
from typing import TYPE_CHECKING, Final, final

from .framing import CHUNK, Decoder, Frame, encode

if TYPE_CHECKING:
    from collections.abc import Generator


class Ready(Flag):
    """The channels that are ready: to be read, or to be written to."""

    NOTHING = 0
    RESPONSE = auto()
    WRITABLE = auto()
    ACK = auto()
    WAKE = auto()
    EXITED = auto()


SEND_BUFFER: Final = 4 * CHUNK
"""Bytes that the socket for calls is to hold: all that is sent ahead, where the default is less."""


@final
class ProcessChannels:
    """The sockets of one worker process.

    Attributes:
        child_ends: What the process gets: for calls, answers, what is asked meanwhile, and leaves.
        has_ended: Whether there is nothing more to come.
        pidfd: What is readable when the process has ended; -1 where there is no such thing.
        shared_flag_fd: A file of one byte that both see, which is not 0 if the call that runs there
            is likely to end soon after it is asked to stop; -1 where there is no such thing, and
            when the process has got it.
    """

    child_ends: tuple[socket.socket, socket.socket, socket.socket, socket.socket]
    has_ended: bool
    pidfd: int
    shared_flag_fd: int

    def __init__(self) -> None:
        self.has_ended = False
        self.pidfd = -1
        self.shared_flag_fd = -1
        self._shared_flag: mmap.mmap | bytes = b"\0"
        self._ends: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._fileno: int = getattr(self._selector, "fileno", lambda: -1)()
        try:
            self._wake, self._woken = self._pair()
            self._calls, calls = self._pair()
            self._responses, responses = self._pair()
            self._control, control = self._pair()
            self._permit_sender, self._permits = self._pair()
            self._calls.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            calls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SEND_BUFFER)
            if hasattr(os, "memfd_create"):
                self.shared_flag_fd = os.memfd_create("asyncrun")
                os.truncate(self.shared_flag_fd, 1)
                self._shared_flag = mmap.mmap(self.shared_flag_fd, 1)
        except OSError:
            self.close()
            raise
        self.child_ends = calls, responses, control, self._permits
        for each, ready in (
            (self._responses, Ready.RESPONSE),
            (self._control, Ready.ACK),
            (self._woken, Ready.WAKE),
        ):
            self._selector.register(each, selectors.EVENT_READ, ready)
        self._response_decoder = Decoder()
        self._ack_decoder = Decoder()

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ends = socket.socketpair()
        self._ends += ends
        ends[0].settimeout(0)
        ends[1].settimeout(None)  # whatever the default is
        return ends

    def connect(self, pid: int) -> None:
        """Close here what the process has got, and notice its end.

        Its sockets do not tell for certain: something that it has forked may hold them.
        """
        for child_end in self.child_ends[:-1]:
            child_end.close()
        self._close_shared_flag_fd()
        self._woken.settimeout(0)
        self._permits.settimeout(0)
        with suppress(AttributeError, OSError):  # Linux has it, since 5.3
            self.pidfd = os.pidfd_open(pid)
            self._selector.register(self.pidfd, selectors.EVENT_READ, Ready.EXITED)

    def close(self) -> None:
        """Close everything."""
        self._selector.close()
        for end in self._ends:
            end.close()
        if self.pidfd != -1:
            os.close(self.pidfd)
            self.pidfd = -1
        self._close_shared_flag_fd()
        if isinstance(self._shared_flag, mmap.mmap):
            self._shared_flag.close()
            self._shared_flag = b"\0"

    def _close_shared_flag_fd(self) -> None:
        if self.shared_flag_fd != -1:
            os.close(self.shared_flag_fd)
            self.shared_flag_fd = -1

    def shut_down(self) -> None:
        """Close the sending side, so that the process sees that no more calls come."""
        with suppress(OSError):
            self._calls.shutdown(socket.SHUT_WR)

    #
    # To wait
    #

    def select(self, seconds: float, *, to_send: bool = False) -> Ready:
        """Wait until there is something to hear.

        Args:
            seconds: For so long at most; at least 0.
            to_send: Whether it is for room to send what was refused, and not for an answer.

        Returns:
            What there is.
        """
        if to_send:
            self._selector.unregister(self._responses)
            self._selector.register(self._calls, selectors.EVENT_WRITE, Ready.WRITABLE)
        ready = Ready.NOTHING
        for key, _ in self._selector.select(seconds):
            ready |= key.data
        if to_send:
            self._selector.unregister(self._calls)
            self._selector.register(self._responses, selectors.EVENT_READ, Ready.RESPONSE)
        if Ready.WAKE in ready:
            with suppress(BlockingIOError):
                self._woken.recv(4096)
        return ready

    def fileno(self) -> int:
        """Return a descriptor, readable when a channel is, or has ended; -1 if there is none."""
        return -1 if self.pidfd == -1 else self._fileno

    def dup(self) -> socket.socket:
        """Return a duplicate of the socket that is readable when there is a response."""
        return self._responses.dup()

    def wake(self) -> None:
        """Interrupt `select`, from any thread and from a signal handler."""
        with suppress(OSError):  # there is something in it already, or it is closed
            self._wake.send(b"!")

    #
    # To talk
    #

    def send(self, content: memoryview | bytes) -> int:
        """Send bytes.

        Args:
            content: The bytes.

        Returns:
            How many of them went off.

        Raises:
            BlockingIOError: There is no room.
            OSError: The worker has closed its end.
        """
        return self._calls.send(content)

    def receive_nowait(self) -> Frame | None:
        """Return a response if it is there."""
        while (frame := self._response_decoder.next_frame()) is None:
            try:
                count = self._responses.recv_into(self._response_decoder.get_buffer())
            except BlockingIOError:
                return None
            except OSError:
                count = 0
            if not count:
                self.has_ended = True
                return None
            self._response_decoder.buffer_updated(count)
        return frame

    def send_request(self, frame: Frame) -> bool:
        """Send what the worker reads while a call runs; return whether it went off."""
        try:
            for content in encode(frame):
                self._control.send(content)
        except OSError:
            return False
        return True

    def is_cooperative(self) -> bool:
        """Return the shared flag: whether the running call is cooperative."""
        return self._shared_flag[0] != 0

    def acks(self) -> Generator[Frame]:
        """Return the acknowledgements of stop requests."""
        try:
            count = self._control.recv_into(self._ack_decoder.get_buffer())
        except OSError:
            count = 0
        if not count:  # it will be readable for ever
            self._selector.unregister(self._control)
        self._ack_decoder.buffer_updated(count)
        while (frame := self._ack_decoder.next_frame()) is not None:
            yield frame

    def grant_permits(self, epoch: int, count: int) -> None:
        """Grant so many permits of an epoch."""
        self._permit_sender.send(bytes((epoch,)) * count)

    def revoke_permits(self) -> int:
        """Take back what leaves there are; tell how many."""
        try:
            return len(self._permits.recv(4096))
        except BlockingIOError:
            return 0
