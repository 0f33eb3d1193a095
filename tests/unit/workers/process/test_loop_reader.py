"""How an event loop hears a process: what comes at a bad moment."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrun._workers.process.child.main import WorkerBootstrap
from asyncrun._workers.process.handle import WorkerProcess, _after_fork
from asyncrun._workers.process.ipc.framing import Frame, encode
from asyncrun._workers.process.ipc.protocol import Code
from asyncrun._workers.process.loop_reader import make_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncrun._workers.process.loop_reader import ResponseReader


ANSWER = Frame(1, Code.RETURNED, b"answer")


class Peer:
    """A process that was never started, and the other end of its answers."""

    def __init__(self) -> None:
        self.process = WorkerProcess(None, 1.0, WorkerBootstrap, {})
        self._answers = self.process.channels.child_ends[1].dup()
        self.process.channels.connect(os.getpid())

    def send(self, part: slice = slice(None)) -> None:
        self._answers.sendall(encode(ANSWER)[0][part])

    def close(self) -> None:
        self._answers.close()
        self.process.close_fds()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


def content(frame: Frame | None) -> bytes:
    return b"" if frame is None else bytes(frame.body)


def open_fds() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


async def run_loop_once() -> None:
    await asyncio.sleep(0)


def test_an_answer_that_comes_as_its_waiter_is_cancelled_is_kept_for_the_next(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        process = peer.process
        process.reader = make_reader(process)
        waiter = asyncio.ensure_future(process.reader.receive())

        def answer_and_cancel() -> Frame | None:
            asyncio.get_running_loop().call_soon(waiter.cancel)  # before the waiter goes on
            return process.channels.receive_nowait()

        monkeypatch.setattr(process, "receive_nowait", answer_and_cancel)
        peer.send()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        monkeypatch.undo()
        assert content(process.receive_nowait()) == b"answer"
        process.close_fds()
        await run_loop_once()

    asyncio.run(main())


def test_a_waiter_that_is_cancelled_with_no_answer_leaves_it_for_a_thread(peer: Peer) -> None:
    async def main() -> None:
        process = peer.process
        process.reader = make_reader(process)
        waiter = asyncio.ensure_future(process.reader.receive())
        await run_loop_once()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        peer.send()
        for _ in range(3):  # it is readable, and the loop is told no more
            await run_loop_once()
        assert content(process.receive(1)) == b"answer"
        peer.send()
        assert content(await process.reader.receive()) == b"answer"
        process.close_fds()
        await run_loop_once()

    asyncio.run(main())


def test_no_memory_for_an_answer_is_the_error_of_its_waiter(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Frame | None:
        raise MemoryError

    async def main() -> None:
        process = peer.process
        process.reader = make_reader(process)
        monkeypatch.setattr(process, "receive_nowait", fail)
        peer.send()
        with pytest.raises(MemoryError):
            await process.reader.receive()
        process.close_fds()
        await run_loop_once()

    asyncio.run(main())


def test_it_is_closed_when_its_loop_is_closed(peer: Peer) -> None:
    async def make() -> ResponseReader:
        return make_reader(peer.process)

    before = open_fds()
    reader = asyncio.run(make())
    reader.close()
    assert open_fds() == before


def test_a_forked_child_closes_it_and_leaves_the_loop_alone(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        reader = make_reader(peer.process)
        loop = asyncio.get_running_loop()
        told: list[object] = []
        monkeypatch.setattr(loop, "remove_reader", told.append)
        monkeypatch.setattr(os, "getpid", lambda: 1)
        reader.close()
        await run_loop_once()
        assert told == []

    asyncio.run(main())


def test_without_asyncio_it_is_heard_too(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.delitem(sys.modules, "asyncio")
        reader = make_reader(peer.process)
        monkeypatch.undo()
        peer.send()
        assert content(await reader.receive()) == b"answer"

    anyio.run(main, backend="trio")


def test_it_is_closed_in_its_loop_also_if_nobody_ever_waited(peer: Peer) -> None:
    async def main() -> None:
        before = open_fds()
        make_reader(peer.process).close()
        await run_loop_once()
        assert open_fds() == before

    asyncio.run(main())


def test_an_answer_that_came_just_before_the_end_is_not_lost(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = peer.process.channels
    answer = channels.receive_nowait

    def none_yet() -> Frame | None:
        monkeypatch.undo()
        assert answer() is None
        peer.send()
        channels.has_ended = True  # as the event loop says, in another thread
        return None

    monkeypatch.setattr(channels, "receive_nowait", none_yet)
    assert content(peer.process.receive(1)) == b"answer"


def test_who_has_ended_is_not_waited_for(peer: Peer) -> None:
    async def main() -> None:
        reader = make_reader(peer.process)
        peer.process.channels.has_ended = True
        assert await reader.receive() is None
        reader.close()
        await run_loop_once()

    asyncio.run(main())


def test_a_waiter_that_is_startled_and_cancelled_at_once_puts_nothing_back(peer: Peer) -> None:
    async def main() -> None:
        process = peer.process
        process.reader = make_reader(process)
        waiter = asyncio.ensure_future(process.reader.receive())
        await run_loop_once()
        process.reader.interrupt()
        asyncio.get_running_loop().call_soon(waiter.cancel)
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert process.receive_nowait() is None
        process.close_fds()
        await run_loop_once()

    asyncio.run(main())


def test_half_an_answer_is_none_yet(peer: Peer) -> None:
    async def main() -> None:
        process = peer.process
        process.reader = make_reader(process)
        waiter = asyncio.ensure_future(process.reader.receive())
        peer.send(slice(20))
        for _ in range(3):
            await run_loop_once()
        assert not waiter.done()
        peer.send(slice(20, None))
        assert content(await waiter) == b"answer"
        process.close_fds()
        await run_loop_once()

    asyncio.run(main())


def test_a_forked_child_closes_what_leads_to_its_parents_processes(peer: Peer) -> None:
    answers = peer.process.channels.child_ends[1]
    _after_fork()
    assert answers.fileno() == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        peer.process.channels.send(b"a call")
