"""What a ThreadPoolExecutor and an Executor do alike: waiting for several calls, and asyncio."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.conftest import PATIENCE, Door
from tests.contract.stdlib_parity.conftest import REFUSED, Alone, fail

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def test_waiting_for_all_takes_cancelled_and_failed_calls_for_done(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    door = Door()
    with executor_class(1) as executor:
        held: Any = executor.submit(door.stuck)
        failing: Any = executor.submit(fail, Alone())
        cancelled = executor.submit(int)
        cancelled.cancel()
        assert futures.wait([held, failing], timeout=0) == (set(), {held, failing})
        door.opened.set()
        done, others = futures.wait([held, failing, cancelled], timeout=PATIENCE)
        assert (done, others) == ({held, failing, cancelled}, set())


def test_waiting_for_the_first_call_ends_with_it(executor_class: type[ThreadPoolExecutor]) -> None:
    doors = [Door(), Door()]
    with executor_class(2) as executor:
        first, second = (executor.submit(door.stuck) for door in doors)
        doors[1].opened.set()
        waited = futures.wait([first, second], PATIENCE, futures.FIRST_COMPLETED)
        assert waited == ({second}, {first})
        doors[0].opened.set()


def test_waiting_for_the_first_error_ends_with_it_or_with_all(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    door = Door()
    with executor_class(2) as executor:
        held: Any = executor.submit(door.stuck)
        good = executor.submit(int)
        good.result(PATIENCE)
        failing = executor.submit(fail, LookupError())
        every: list[futures.Future[Any]] = [held, good, failing]
        assert futures.wait(every, PATIENCE, futures.FIRST_EXCEPTION) == ({good, failing}, {held})
        door.opened.set()
        assert futures.wait([held, good], PATIENCE, futures.FIRST_EXCEPTION).not_done == set()


def test_calls_come_as_they_complete_the_cancelled_among_them(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    doors = [Door(), Door()]
    with executor_class(2) as executor:
        held: list[futures.Future[Any]] = [executor.submit(door.stuck) for door in doors]
        cancelled = executor.submit(int)
        cancelled.cancel()
        done = futures.as_completed([*held, cancelled], timeout=PATIENCE)
        doors[1].opened.set()
        assert {next(done), next(done)} == {held[1], cancelled}
        doors[0].opened.set()
        assert list(done) == [held[0]]


def test_those_that_do_not_complete_in_time_raise_after_those_that_do(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    door = Door()
    with executor_class(2) as executor:
        held: Any = executor.submit(door.stuck)
        ready = executor.submit(int)
        ready.result(PATIENCE)
        done = futures.as_completed([held, ready], timeout=0)
        assert next(done) is ready
        with pytest.raises(TimeoutError):
            next(done)
        door.opened.set()
        assert held.result(PATIENCE) == "late"


def test_asyncio_awaits_its_calls(executor_class: type[ThreadPoolExecutor]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with executor_class(2) as executor:
            calls = [loop.run_in_executor(executor, pow, 2, number) for number in range(20)]
            assert await asyncio.gather(*calls) == [2**number for number in range(20)]
            with pytest.raises(LookupError, match="my own"):
                await loop.run_in_executor(executor, fail, LookupError("my own"))
            assert await asyncio.wrap_future(executor.submit(str, 1)) == "1"

    asyncio.run(main())


def test_asyncio_cancels_what_has_not_begun(executor_class: type[ThreadPoolExecutor]) -> None:
    door, called = Door(), threading.Event()

    async def main() -> None:
        with executor_class(1) as executor:
            executor.submit(door.stuck)
            future = executor.submit(called.set)
            cancelled = asyncio.Event()
            future.add_done_callback(lambda _: cancelled.set())  # in this thread
            waiting = asyncio.wrap_future(future)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            async with asyncio.timeout(PATIENCE):
                await cancelled.wait()
            assert future.cancelled()
            door.opened.set()

    asyncio.run(main())
    assert not called.is_set()


def test_asyncio_takes_it_as_its_default_and_shuts_it_down(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    async def main() -> tuple[ThreadPoolExecutor, threading.Thread]:
        executor = executor_class(2, "mine")
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)
        assert await asyncio.to_thread(pow, 2, exp=3) == 8
        return executor, await loop.run_in_executor(None, threading.current_thread)

    executor, thread = asyncio.run(main())
    assert thread.name.startswith("mine_")
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match=f"^{REFUSED}"):
        executor.submit(int)
