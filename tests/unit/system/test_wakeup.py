"""The wake-up descriptor of a plain asyncio loop: set, shared, left to others, and taken back."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncrun
from asyncrun._system.wakeup import _after_fork, _known, _WakeUp, waking_the_loop
from tests.conftest import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def current() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor


@pytest.fixture
def foreign() -> Iterator[tuple[int, socket.socket]]:
    """A descriptor that another party sets, and where its bytes come out."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        yield writer.fileno(), reader
        signal.set_wakeup_fd(-1)


def test_a_runner_and_a_call_have_one_as_long_as_they_are_open() -> None:
    async def main() -> None:
        assert current() == -1
        with waking_the_loop():
            during = current()
        assert during != -1
        async with asyncrun.Runner() as runner:
            assert current() == during
            await asyncrun.run_sync(int)
            await runner.run_sync(int)
            async with asyncrun.Runner():
                assert current() == during
            assert current() == during
        assert current() == -1
        task = asyncio.ensure_future(asyncrun.run_sync(int))
        await asyncio.sleep(0)
        assert current() == during
        await task
        assert current() == -1

    asyncio.run(main())


@pytest.mark.parametrize("name", ["uvloop", "trio"])
def test_a_loop_that_sets_one_itself_keeps_it(name: str) -> None:
    async def main() -> None:
        before = current()
        async with asyncrun.Runner():
            assert current() == before

    backend, options = BACKENDS[name]
    anyio.run(main, backend=backend, backend_options=options)


def test_a_loop_in_another_thread_needs_none() -> None:
    async def main() -> None:
        async with asyncrun.Runner():
            with pytest.raises(ValueError, match="main thread"):
                signal.set_wakeup_fd(-1)
        with waking_the_loop():
            pass

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join()
    assert current() == -1


def test_one_that_another_party_has_set_stays(foreign: tuple[int, socket.socket]) -> None:
    async def main() -> None:
        signal.set_wakeup_fd(foreign[0])
        async with asyncrun.Runner():
            assert current() == foreign[0]
        assert current() == foreign[0]

    asyncio.run(main())


def test_one_that_another_party_sets_meanwhile_stays(foreign: tuple[int, socket.socket]) -> None:
    async def main() -> None:
        async with asyncrun.Runner():
            signal.set_wakeup_fd(foreign[0])
        assert current() == foreign[0]

    asyncio.run(main())


@pytest.mark.parametrize("when", ["enter", "exit"])
def test_signals_of_the_moment_in_which_it_looks_reach_the_other_party(
    foreign: tuple[int, socket.socket], when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    previous = signal.signal(signal.SIGUSR1, lambda signum, frame: None)
    set_wakeup_fd = signal.set_wakeup_fd

    def slow(descriptor: int, **options: bool) -> int:
        old = set_wakeup_fd(descriptor, **options)
        if descriptor not in (-1, foreign[0]):
            os.kill(os.getpid(), signal.SIGUSR1)
        return old

    async def main() -> None:
        if when == "enter":
            set_wakeup_fd(foreign[0])
            monkeypatch.setattr("asyncrun._system.wakeup._set_wakeup_fd", slow)
        with waking_the_loop():
            monkeypatch.undo()
            if when == "exit":
                set_wakeup_fd(foreign[0])
                monkeypatch.setattr("asyncrun._system.wakeup._set_wakeup_fd", slow)
        assert current() == foreign[0]
        assert foreign[1].recv(16) == bytes([signal.SIGUSR1])

    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_asyncios_own_handlers_work_before_and_after() -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), asyncio.Event()
        for _ in range(2):
            loop.add_signal_handler(signal.SIGUSR1, seen.set)
            async with asyncrun.Runner():
                os.kill(os.getpid(), signal.SIGUSR1)
                await asyncio.wait_for(seen.wait(), 30)
                loop.remove_signal_handler(signal.SIGUSR1)
                assert current() == -1
                await asyncrun.run_sync(int)
            assert current() == -1
            seen.clear()

    asyncio.run(main())


@pytest.mark.parametrize("in_main_thread", [True, False])
def test_it_goes_with_the_loop_even_if_a_block_was_never_left(in_main_thread: bool) -> None:
    async def main() -> tuple[int, int]:
        waking = waking_the_loop()
        assert isinstance(waking, _WakeUp)
        waking.__enter__()
        return waking._sender.fileno(), waking._receiver.fileno()

    def drop() -> None:
        loops.clear()
        gc.collect()

    loops = [asyncio.new_event_loop()]
    descriptors = loops[0].run_until_complete(main())
    loops[0].close()
    if in_main_thread:
        drop()
        assert current() == -1
        return
    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
    assert signal.set_wakeup_fd(-1) == descriptors[0]  # it cannot be removed there
    for descriptor in descriptors:
        os.close(descriptor)


def test_one_whose_coroutine_is_closed_in_another_thread_stays_until_the_loop_goes() -> None:
    async def main() -> None:
        waking = waking_the_loop()
        waking.__enter__()
        thread = threading.Thread(target=waking.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        assert current() != -1

    asyncio.run(main())
    gc.collect()
    assert current() == -1


@pytest.mark.filterwarnings("ignore:asynchronous generator .* was scheduled after")
def test_a_loop_that_runs_again_after_it_has_shut_its_generators_down_has_a_new_one() -> None:
    async def main() -> None:
        async with asyncrun.Runner():
            assert current() != -1

    loop = asyncio.new_event_loop()
    for _ in range(2):
        loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_asyncgens())
        assert current() == -1
    loop.close()


def test_a_forked_child_does_not_wake_its_parents_loop() -> None:
    async def main() -> None:
        async with asyncrun.Runner():
            pids.append(os.fork())
            if not pids[0]:
                os._exit(int(current() != -1))

    pids: list[int] = []
    asyncio.run(main())
    _, status = os.waitpid(pids[0], 0)
    assert status == 0


def test_the_loop_may_end_after_a_fork_has_closed_it() -> None:
    async def main() -> None:
        with waking_the_loop() as _:
            waking = waking_the_loop()
            assert isinstance(waking, _WakeUp)
            asyncio.get_running_loop().remove_reader(waking._receiver.fileno())
            _after_fork()
        assert waking.is_closed()

    asyncio.run(main())
    assert current() == -1


def test_one_that_is_gone_is_no_business_of_a_fork() -> None:
    class Loop:
        pass

    loop = Loop()
    gone: Any = weakref.ref(Loop())
    _known[loop] = gone
    _after_fork()
    assert loop not in _known
