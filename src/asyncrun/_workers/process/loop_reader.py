"""Awaiting the response of a worker process in an event loop.

Rules of this module:

- A socket is registered with asyncio once, and not for each response: that would take as long as
  all the rest.
- asyncio watches a duplicate descriptor that only the loop's thread closes. Otherwise its number
  could be reused while asyncio still watches it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, final

import anyio
import anyio.lowlevel

from ..._system.eventloop import threadsafe_caller

if TYPE_CHECKING:
    import asyncio

    from .ipc.channels import ProcessChannels
    from .ipc.framing import Frame


class Process(Protocol):
    """The part of a `WorkerProcess` that a reader uses."""

    channels: ProcessChannels

    def stop_requested(self) -> bool:
        """See `WorkerProcess.stop_requested`."""
        ...

    def poll(self) -> bool:
        """See `WorkerProcess.poll`."""
        ...

    def receive_nowait(self) -> Frame | None:
        """See `WorkerProcess.receive_nowait`."""
        ...

    def unread(self, frame: Frame) -> None:
        """See `WorkerProcess.unread`."""
        ...


class ResponseReader(Protocol):
    """Waits for the responses of a worker process in an event loop."""

    async def receive(self) -> Frame | None:
        """See `Endpoint.receive_async`.

        On cancel: nothing is lost.
        """
        ...

    def interrupt(self) -> None:
        """Make `receive` return None if the stop flag is set; from any thread or handler."""
        ...

    def close(self) -> None:
        """Close what the event loop watches; from any thread."""
        ...


def make_reader(process: Process) -> ResponseReader:
    """Return a reader for a process and this event loop."""
    loop = anyio.lowlevel.current_token().native_token
    if "asyncio" in sys.modules:
        import asyncio  # noqa: PLC0415 - under Trio it need not be there

        if isinstance(loop, asyncio.AbstractEventLoop):
            return _AsyncioReader(process, loop)
    return _PollingReader(process)


@final
class _PollingReader(ResponseReader):
    def __init__(self, process: Process) -> None:
        self._process = process

    async def receive(self) -> Frame | None:
        process = self._process
        while True:
            await anyio.wait_readable(process.channels.fileno())
            if (frame := process.receive_nowait()) is not None or not process.poll():
                return frame

    def interrupt(self) -> None:
        """Do nothing: `WorkerProcess.wake` has made the descriptor readable."""

    def close(self) -> None:
        """Do nothing: nothing was registered."""


@final
class _AsyncioReader(ResponseReader):
    def __init__(self, process: Process, loop: asyncio.AbstractEventLoop) -> None:
        self._process = process
        self._loop = loop
        self._socket = process.channels.dup()
        self._pidfd = os.dup(process.channels.pidfd)
        loop.add_reader(self._pidfd, self._on_exit)
        self._is_registered = False
        self._future: asyncio.Future[Frame | None] | None = None
        self._call_soon_threadsafe = threadsafe_caller()
        self._pid = os.getpid()

    async def receive(self) -> Frame | None:
        if self._process.stop_requested() or self._process.channels.has_ended:
            return None
        future: asyncio.Future[Frame | None] = self._loop.create_future()
        self._future = future
        if not self._is_registered:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._is_registered = True
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                unread = future.result()
                if unread is not None:
                    self._process.unread(unread)  # it came as this was cancelled
            raise
        finally:
            self._future = None
        return future.result()

    def _on_readable(self) -> None:
        future, process = self._future, self._process
        if future is None or future.done():  # it is for a thread, or the end of an idle process
            self._loop.remove_reader(self._socket.fileno())
            self._is_registered = False
            return
        try:
            if (frame := process.receive_nowait()) is not None or process.channels.has_ended:
                future.set_result(frame)
        except MemoryError as exc:  # it is a large one
            future.set_exception(exc)

    def _on_exit(self) -> None:
        """Hear that the process has ended, which its socket need not tell."""
        self._loop.remove_reader(self._pidfd)
        self._process.channels.has_ended = True
        self._interrupt_wait()

    def _interrupt_wait(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def interrupt(self) -> None:
        self._call_soon_threadsafe(self._interrupt_wait)

    def close(self) -> None:
        if self._loop.is_closed() or os.getpid() != self._pid:  # or this is a forked child
            self._socket.close()
            os.close(self._pidfd)
        else:
            self._call_soon_threadsafe(self._close)

    def _close(self) -> None:
        if self._is_registered:
            self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_reader(self._pidfd)
        self._socket.close()
        os.close(self._pidfd)
