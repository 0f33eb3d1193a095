"""Runner.map at moments that are hard to meet: one side is held where the other one comes by."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from asyncrun import Runner
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.conftest import HeldCall, HeldThreadCall

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_wake_up_that_comes_just_as_the_reader_stops_waiting_is_no_error(
    held_call: type[HeldCall], ordered: bool
) -> None:
    blocked = held_call()

    class Wakers(list[Any]):
        """A worker's next step, just after the reader has looked whether it is still listed."""

        def remove(self, waker: Any) -> None:
            batch.notify_reader()
            super().remove(waker)

    async with (
        Runner() as runner,
        runner.map(lambda blocked: blocked.stuck(), [blocked], ordered=ordered) as results,
    ):
        batch = results._batch
        batch._wakers = Wakers()
        await blocked.inside.wait()
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

            runner.start_soon(cancel)
            await anext(results)
        assert scope.cancelled_caught
        blocked.released.set()
        assert await anext(results) == "late"


async def test_an_item_that_begins_just_as_its_map_is_left_does_not_run_and_is_no_error() -> None:
    called, go, dropped = list[int](), threading.Event(), threading.Event()
    begun = anyio.Event()

    class Busy(dict[Any, None]):
        """A worker is held just before it looks whether the batch is closed."""

        def __setitem__(self, item: Any, value: None) -> None:
            super().__setitem__(item, value)
            anyio.from_thread.run_sync(begun.set)
            assert go.wait(PATIENCE)

    class Stuck(dict[Any, None]):
        """The loop's thread is held between the two steps of its claim."""

        def __setitem__(self, item: Any, value: None) -> None:
            super().__setitem__(item, value)
            go.set()
            assert dropped.wait(PATIENCE)

        def pop(self, *args: Any) -> Any:
            result = super().pop(*args)
            dropped.set()
            return result

    async with Runner() as runner:
        results = runner.map(called.append, [1])
        results._batch.running = Busy()
        results._batch.abandoned = Stuck()
        async with results:
            await begun.wait()
        assert called == []
        assert results.running == 0
        assert runner.calls() == []


@pytest.mark.parametrize("keep", [False, True])
async def test_an_item_that_ends_just_as_it_times_out_has_one_outcome(
    held_thread_call: type[HeldThreadCall], keep: bool
) -> None:
    blocked = held_thread_call()  # it needs no loop, which is held
    worker = threading.Event()

    class Stuck(dict[Any, None]):
        """The watch is held between the two steps of its claim until the item has ended."""

        def __setitem__(self, item: Any, value: None) -> None:
            super().__setitem__(item, value)
            blocked.released.set()
            assert worker.wait(PATIENCE)

    class Busy(dict[Any, None]):
        def pop(self, *args: Any) -> Any:
            result = super().pop(*args)
            worker.set()
            return result

    async with Runner() as runner:
        results = runner.map(
            lambda blocked: blocked.stuck(), [blocked], item_timeout=0.01, return_exceptions=keep
        )
        results._batch.running = Busy()
        results._batch.abandoned = Stuck()
        async with results:
            assert [result async for result in results] == ["late"]
            assert (results.started, results.done, results.failed) == (1, 1, 0)
            assert not blocked.token._set


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
async def test_many_small_maps_lose_no_wake_up(ordered: bool, asynchronous: bool) -> None:
    async def items(number: int) -> AsyncIterator[int]:
        for each in range(number):
            yield each

    async with Runner(max_threads=3) as runner:
        for number in range(150):
            given = items(number % 4) if asynchronous else range(number % 4)
            with anyio.fail_after(PATIENCE):
                async with runner.map(
                    int, given, ordered=ordered, buffersize=1 + number % 3
                ) as each:
                    assert len([result async for result in each]) == number % 4


async def test_results_flow_while_readers_come_and_go() -> None:
    got = list[int]()

    async def read(results: Any) -> None:
        with anyio.CancelScope() as scope:
            async for result in results:
                got.append(result)
                if len(got) % 7 == 0:
                    scope.cancel()
                if len(got) % 11 == 0:
                    return
                await anyio.lowlevel.checkpoint()

    async with (
        Runner(max_threads=3) as runner,
        runner.map(int, range(2000), ordered=False, buffersize=5) as results,
    ):
        with anyio.fail_after(PATIENCE):
            while len(got) < 2000:
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(read, results)
        await until(lambda: results.done == 2000)
    assert sorted(got) == list(range(2000))
