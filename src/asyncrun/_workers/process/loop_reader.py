"""How an event loop hears that a worker process has answered.

Rules of this room:

- asyncio is told of a socket once, and not for each answer: that would take as long as the rest.
- What asyncio knows is a descriptor of its own, and closed in its own thread: it would take
  another one that gets the same number for it.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, final

import anyio
import anyio.lowlevel

from ..._system.eventloop import loop_poster
from .handle import Ear

if TYPE_CHECKING:
    import asyncio

    from .handle import Process
    from .ipc.framing import Frame


def ear_for(process: Process) -> Ear:
    """Make what hears a process in this event loop."""
    loop = anyio.lowlevel.current_token().native_token
    if "asyncio" in sys.modules:
        import asyncio  # noqa: PLC0415 - under Trio it need not be there

        if isinstance(loop, asyncio.AbstractEventLoop):
            return _LoopEar(process, loop)
    return _AnyEar(process)


@final
class _AnyEar(Ear):
    def __init__(self, process: Process) -> None:
        self._process = process

    async def answer(self) -> Frame | None:
        process = self._process
        while True:
            await anyio.wait_readable(process.wire.fileno())
            if (frame := process.answer()) is not None or not process.look():
                return frame

    def close(self) -> None:
        pass


@final
class _LoopEar(Ear):
    def __init__(self, process: Process, loop: asyncio.AbstractEventLoop) -> None:
        self._process = process
        self._loop = loop
        self._socket = process.wire.dup()
        self._pidfd = os.dup(process.wire.pidfd)
        loop.add_reader(self._pidfd, self._end)
        self._is_told = False
        self._future: asyncio.Future[Frame | None] | None = None
        self._post = loop_poster()
        self._pid = os.getpid()
        process.startle = partial(self._post, self._startle)

    async def answer(self) -> Frame | None:
        if self._process.is_asked() or self._process.wire.has_ended:
            return None
        future: asyncio.Future[Frame | None] = self._loop.create_future()
        self._future = future
        if not self._is_told:
            self._loop.add_reader(self._socket.fileno(), self._hear)
            self._is_told = True
        try:
            await future
        except BaseException:
            if future.done() and not future.cancelled() and future.exception() is None:
                late = future.result()
                if late is not None:
                    self._process.put_back(late)  # it came as this was cancelled
            raise
        finally:
            self._future = None
        return future.result()

    def _hear(self) -> None:
        future, process = self._future, self._process
        if future is None or future.done():  # it is for a thread, or the end of an idle process
            self._loop.remove_reader(self._socket.fileno())
            self._is_told = False
            return
        try:
            if (frame := process.answer()) is not None or process.wire.has_ended:
                future.set_result(frame)
        except MemoryError as exc:  # it is a large one
            future.set_exception(exc)

    def _end(self) -> None:
        """Hear that the process has ended, which its socket need not tell."""
        self._loop.remove_reader(self._pidfd)
        self._process.wire.has_ended = True
        self._startle()

    def _startle(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def close(self) -> None:
        if self._loop.is_closed() or os.getpid() != self._pid:  # or this is a forked child
            self._socket.close()
            os.close(self._pidfd)
        else:
            self._post(self._close)

    def _close(self) -> None:
        if self._is_told:
            self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_reader(self._pidfd)
        self._socket.close()
        os.close(self._pidfd)
