"""Runner.map and its neighbours: slots are shared, and maps may be nested."""

from __future__ import annotations

import threading
from contextlib import aclosing
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import pytest

from asyncrun import Runner
from asyncrun._workers import slots as slots_module
from asyncrun._workers.thread import item_loop
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from asyncrun._runner.map_results import MapResults
    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


def _endless() -> Iterator[int]:
    return iter(int, 1)


def _runs(results: MapResults[Any], number: int) -> bool:
    return results.running == number


async def _read(results: MapResults[Any]) -> None:
    async for _ in results:
        pass


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("ordered", [True, False])
async def test_a_call_gets_a_slot_while_an_endless_map_takes_all(
    threads: int, ordered: bool
) -> None:
    async with (
        Runner(max_threads=threads) as runner,
        runner.map(str, _endless(), ordered=ordered) as results,
    ):
        handle = runner.start_soon(_read, results)
        await until(lambda: results.done > 100)
        with anyio.fail_after(PATIENCE):
            for number in range(10):
                assert await runner.run_sync(str, number) == str(number)
            handles = [runner.submit(str, number) for number in range(20)]
            assert [await each for each in handles] == [str(number) for number in range(20)]
        before = results.done
        await until(lambda: results.done > before)  # it goes on
        handle.cancel()
        await handle.wait()


async def test_a_call_gets_the_slot_after_one_item(held_call: type[HeldCall]) -> None:
    made, begun = [held_call() for _ in range(5)], list[object]()

    def call(held_thread_call: HeldCall) -> str:
        begun.append(held_thread_call)
        assert not threading.Event().wait(2 * item_loop.TIME_SLICE)
        return held_thread_call.stuck()

    async with Runner(max_threads=1) as runner, runner.map(call, made) as results:
        await made[0].inside.wait()
        handle = runner.submit(lambda: len(begun))
        await anyio.wait_all_tasks_blocked()
        made[0].released.set()
        assert await handle == 1
        for blocked in made:
            blocked.released.set()
        assert [result async for result in results] == ["late"] * 5


@pytest.mark.parametrize("threads", [1, 2, 3])
async def test_a_second_map_gets_slots_while_an_endless_one_takes_all(threads: int) -> None:
    async with Runner(max_threads=threads) as runner, runner.map(str, _endless()) as endless:
        handle = runner.start_soon(_read, endless)
        await until(lambda: endless.done > 100)
        with anyio.fail_after(PATIENCE):
            async with runner.map(int, range(2000)) as results:
                assert [result async for result in results] == list(range(2000))
            async with runner.map(str, _endless()) as second, runner.map(str, _endless()) as _:
                for _ in range(2000):
                    await anext(second)
        before = endless.done
        await until(lambda: endless.done > before)
        handle.cancel()
        await handle.wait()


async def test_two_maps_share_the_slots_evenly(held_call: type[HeldCall]) -> None:
    made = [[held_call() for _ in range(40)] for _ in range(2)]
    async with Runner(max_threads=6) as runner:

        def call(held_thread_call: HeldCall) -> None:
            assert not threading.Event().wait(2 * item_loop.TIME_SLICE)
            held_thread_call.stuck()

        async with runner.map(call, made[0]) as first:
            await until(lambda: first.running == 6)
            async with runner.map(call, made[1]) as second:
                shares = set[int]()
                for number in range(30):
                    made[0][number].released.set()
                    made[1][number].released.set()
                    await until(made[0][number].left.is_set)
                    await until(lambda: first.running + second.running == 6)
                    shares.add(second.running)
                assert max(shares) == 3
                for blocked in made[0] + made[1]:
                    blocked.released.set()
                await _read(second)
            await _read(first)


@pytest.mark.parametrize("neighbour", ["call", "map"])
async def test_loops_that_idle_lend_their_slot_at_once(
    held_call: type[HeldCall], monkeypatch: pytest.MonkeyPatch, neighbour: str
) -> None:
    monkeypatch.setattr(item_loop, "IDLE_TIMEOUT", PATIENCE)
    more = anyio.Event()

    async def items() -> AsyncIterator[int]:
        for number in range(4):
            yield number
        await more.wait()
        yield 4

    async with Runner(max_threads=2) as runner, runner.map(str, items()) as results:
        assert [await anext(results) for _ in range(4)] == list("0123")
        with anyio.fail_after(PATIENCE / 3):
            for _ in range(3):
                if neighbour == "call":
                    made = [held_call(), held_call()]
                    handles = [runner.submit(blocked.stuck) for blocked in made]
                    for blocked in made:
                        await blocked.inside.wait()
                        blocked.released.set()
                    assert [await handle for handle in handles] == ["late"] * 2
                else:
                    async with runner.map(str, range(9)) as others:
                        assert len([other async for other in others]) == 9
        more.set()
        assert await anext(results) == "4"


async def test_idle_loops_of_a_map_that_is_left_give_their_slots_back_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_loop, "IDLE_TIMEOUT", PATIENCE)
    with anyio.fail_after(PATIENCE / 3):
        async with Runner(max_threads=2) as runner:
            for _ in range(3):
                async with runner.map(str, range(9)) as results:
                    assert len([result async for result in results]) == 9
            assert await runner.run_sync(str, 1) == "1"


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 2), (3, 3), (100, 4), (None, 4)])
async def test_a_limit_caps_the_slots_of_a_map(
    held_call: type[HeldCall], limit: int | None, most: int
) -> None:
    made = [held_call() for _ in range(8)]
    async with (
        Runner(max_threads=4) as runner,
        runner.map(lambda blocked: blocked.stuck(), made, max_concurrency=limit) as results,
    ):
        for number, blocked in enumerate(made):
            for inside in made[number : number + most]:
                await inside.inside.wait()
            running = min(most, 8 - number)
            await until(partial(_runs, results, running))
            if most < 4:
                assert await runner.run_sync(str, 1) == "1"
            blocked.released.set()
        assert [result async for result in results] == ["late"] * 8


async def test_every_slot_is_used_by_items_that_wait_for_each_other() -> None:
    slots = 8
    barrier = threading.Barrier(slots, timeout=PATIENCE)
    for _ in range(10):
        async with (
            Runner(max_threads=slots) as runner,
            runner.map(lambda _: barrier.wait(), range(slots * 3)) as results,
        ):
            assert sorted([r async for r in results]) == sorted([*range(slots)] * 3)


@pytest.mark.parametrize("place", ["it looks idle", "it is not busy"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_item_that_comes_just_when_a_loop_takes_another_has_a_slot_of_its_own(
    monkeypatch: pytest.MonkeyPatch, held_call: type[HeldCall], asynchronous: bool, place: str
) -> None:
    """A loop that has taken an item and has not begun it is not idle."""
    more, taken = threading.Event(), anyio.Event()
    made = [held_call() for _ in range(3)]

    def slowly(func: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any) -> Any:
            if not taken.is_set():
                anyio.from_thread.run_sync(taken.set)
                assert more.wait(PATIENCE)
            return func(*args)

        return held

    async def later() -> AsyncGenerator[int]:
        yield 0
        await taken.wait()
        yield 1
        more.set()
        await anyio.sleep_forever()

    if place == "it looks idle":
        monkeypatch.setattr(
            slots_module.SlotQueue, "mark_busy", slowly(slots_module.SlotQueue.mark_busy)
        )
    else:
        monkeypatch.setattr(item_loop, "copy_context", slowly(copy_context))
    async with Runner(max_threads=3) as runner, aclosing(later()) as async_items:
        items = async_items if asynchronous else range(2)
        async with runner.map(lambda number: made[number].stuck(), items, buffersize=2) as results:
            with anyio.move_on_after(2) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(anext, results)
                    await taken.wait()
                    await anyio.wait_all_tasks_blocked()
                    more.set()
                    await made[0].inside.wait()
                    await made[1].inside.wait()
                    group.cancel_scope.cancel()
            assert not scope.cancelled_caught, "item 1 waits for item 0, though there are slots"
            for blocked in made:
                blocked.released.set()


@pytest.mark.parametrize("threads", [1, 2])
async def test_a_map_may_feed_another(threads: int) -> None:
    async with (
        Runner(max_threads=threads) as runner,
        runner.map(int, range(300), ordered=False, buffersize=5) as numbers,
        runner.map(str, numbers, ordered=False, buffersize=3) as results,
    ):
        got = [result async for result in results]
        assert sorted(got, key=int) == [str(number) for number in range(300)]


@pytest.mark.parametrize("threads", [1, 2])
async def test_a_task_that_reads_one_map_may_feed_another_at_once(threads: int) -> None:
    send, receive = anyio.create_memory_object_stream[int](2)

    async def first(runner: Runner) -> None:
        async with send, runner.map(int, range(300), buffersize=5) as results:
            async for result in results:
                await send.send(result)

    async with Runner(max_threads=threads) as runner:
        runner.start_soon(first, runner)
        async with receive, runner.map(str, receive, buffersize=3) as results:
            got = [result async for result in results]
        assert got == [str(number) for number in range(300)]


@pytest.mark.parametrize("threads", [2, 5])
async def test_an_item_may_wait_for_a_map_as_long_as_a_limit_leaves_a_slot_free(
    threads: int,
) -> None:
    async with Runner(max_threads=threads) as runner:

        async def inner(number: int) -> list[str]:
            async with runner.map(str, range(number)) as results:
                return [result async for result in results]

        def call(number: int) -> list[str]:
            return anyio.from_thread.run(inner, number)

        async with runner.map(call, range(20), max_concurrency=threads - 1) as results:
            got = [result async for result in results]
        assert got == [[str(each) for each in range(number)] for number in range(20)]


async def test_an_item_that_waits_for_a_map_does_not_lend_it_its_token() -> None:
    async with Runner(max_threads=2) as runner:

        def is_set(_: int) -> bool:
            from asyncrun import stop_token

            return stop_token()._set

        async def inner() -> list[bool]:
            async with runner.map(is_set, range(3)) as results:
                return [result async for result in results]

        def call(_: int) -> list[bool]:
            from asyncrun import stop_token

            stop_token()._set = True  # as if it was asked to stop
            return anyio.from_thread.run(inner)

        async with runner.map(call, range(1)) as results:
            assert [result async for result in results] == [[False] * 3]
