"""The two ThreadPoolExecutors are alike: waiting for several calls, and asyncio."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.conftest import PATIENCE, HeldThreadCall
from tests.contract.stdlib_parity.conftest import REFUSED, Alone, fail

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def test_waiting_for_all_takes_cancelled_and_failed_calls_for_done(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        held: Any = executor.submit(blocked.stuck)
        failing: Any = executor.submit(fail, Alone())
        cancelled = executor.submit(int)
        cancelled.cancel()
        assert futures.wait([held, failing], timeout=0) == (set(), {held, failing})
        blocked.released.set()
        done, others = futures.wait([held, failing, cancelled], timeout=PATIENCE)
        assert (done, others) == ({held, failing, cancelled}, set())


def test_waiting_for_the_first_call_ends_with_it(executor_class: type[ThreadPoolExecutor]) -> None:
    made = [HeldThreadCall(), HeldThreadCall()]
    with executor_class(2) as executor:
        first, second = (executor.submit(blocked.stuck) for blocked in made)
        made[1].released.set()
        waited = futures.wait([first, second], PATIENCE, futures.FIRST_COMPLETED)
        assert waited == ({second}, {first})
        made[0].released.set()


def test_waiting_for_the_first_error_ends_with_it_or_with_all(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(2) as executor:
        held: Any = executor.submit(blocked.stuck)
        good = executor.submit(int)
        good.result(PATIENCE)
        failing = executor.submit(fail, LookupError())
        every: list[futures.Future[Any]] = [held, good, failing]
        assert futures.wait(every, PATIENCE, futures.FIRST_EXCEPTION) == ({good, failing}, {held})
        blocked.released.set()
        assert futures.wait([held, good], PATIENCE, futures.FIRST_EXCEPTION).not_done == set()


def test_calls_come_as_they_complete_the_cancelled_among_them(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    made = [HeldThreadCall(), HeldThreadCall()]
    with executor_class(2) as executor:
        held: list[futures.Future[Any]] = [executor.submit(blocked.stuck) for blocked in made]
        cancelled = executor.submit(int)
        cancelled.cancel()
        done = futures.as_completed([*held, cancelled], timeout=PATIENCE)
        made[1].released.set()
        assert {next(done), next(done)} == {held[1], cancelled}
        made[0].released.set()
        assert list(done) == [held[0]]


def test_those_that_do_not_complete_in_time_raise_after_those_that_do(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(2) as executor:
        held: Any = executor.submit(blocked.stuck)
        ready = executor.submit(int)
        ready.result(PATIENCE)
        done = futures.as_completed([held, ready], timeout=0)
        assert next(done) is ready
        with pytest.raises(TimeoutError):
            next(done)
        blocked.released.set()
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
    blocked, called = HeldThreadCall(), threading.Event()

    async def main() -> None:
        with executor_class(1) as executor:
            executor.submit(blocked.stuck)
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
            blocked.released.set()

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
