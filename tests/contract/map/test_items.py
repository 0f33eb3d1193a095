"""Runner.map: its readers, and what each item has of its own."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from itertools import chain
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner, StopToken, stop_token
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ordered", [True, False])
async def test_several_readers_share_the_results(ordered: bool) -> None:
    got: list[list[int]] = [[], [], []]

    async def read(mine: list[int], results: AsyncIterator[int]) -> None:
        async for result in results:
            mine.append(result)
            await anyio.lowlevel.checkpoint()

    async with (
        Runner(max_threads=3) as runner,
        runner.map(int, range(500), ordered=ordered, buffersize=9) as results,
        anyio.create_task_group() as group,
    ):
        for mine in got:
            group.start_soon(read, mine, results)
    assert sorted(chain(*got)) == list(range(500))
    assert not ordered or all(mine == sorted(mine) for mine in got)


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_wait_for_a_result_that_is_cancelled_loses_none(
    held_call: type[HeldCall], ordered: bool
) -> None:
    blocked = held_call()

    def call(number: int) -> int:
        if number == 0:
            blocked.stuck()
        return number

    async with (
        Runner(max_threads=1) as runner,
        runner.map(call, range(3), ordered=ordered) as results,
    ):
        await blocked.inside.wait()
        for _ in range(3):
            with anyio.move_on_after(0) as scope:
                await anext(results)
            assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(anext, results)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        blocked.released.set()
        await until(lambda: results.done == 3)
        assert [result async for result in results] == [0, 1, 2]


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_cancelled_reader_is_cut_short_and_what_it_has_not_got_is_for_the_next(
    ordered: bool,
) -> None:
    got: list[int] = []
    async with (
        Runner(max_threads=1) as runner,
        runner.map(int, range(100_000), ordered=ordered) as results,
    ):
        for _ in range(3):
            with anyio.CancelScope() as scope:
                scope.cancel()
                got.extend([result async for result in results])
            assert scope.cancelled_caught
        assert len(got) < 100_000
        async for result in results:
            got.append(result)  # noqa: PERF401 - so it is above
    assert got == list(range(100_000))


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_reader_that_never_has_to_wait_lets_the_event_loop_turn(ordered: bool) -> None:
    ticks, seen = 0, set[int]()

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    many = 30_000
    async with Runner() as runner:
        handle = runner.start_soon(tick)
        async with runner.map(int, range(many), ordered=ordered, buffersize=many) as results:
            while results._input.pulled < many:
                results._pull()
            await until(lambda: results.done == many)
            async for _ in results:
                seen.add(ticks)
        handle.cancel()
        await handle.wait()
    assert len(seen) > 3


async def test_a_slow_input_lets_the_event_loop_turn_between_two_items() -> None:
    ticks, at = 0, list[int]()

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await anyio.lowlevel.checkpoint()

    def slow() -> Iterator[int]:
        for number in range(50):
            at.append(ticks)
            assert not threading.Event().wait(0.002)  # it blocks the loop, which is its own fault
            yield number

    async with Runner() as runner:
        handle = runner.start_soon(tick)
        async with runner.map(int, slow()) as results:
            assert [result async for result in results] == list(range(50))
        handle.cancel()
    assert max(at.count(each) for each in at) <= 5


# rule 3
async def test_each_item_has_a_token_of_its_own() -> None:
    tokens: list[StopToken] = []
    async with Runner() as runner:
        async with runner.map(lambda _: tokens.append(stop_token()), range(50)) as results:
            async for _ in results:
                pass
        assert len(set(map(id, tokens))) == 50
        runner.stop()
        with anyio.CancelScope(shield=True):
            await until(lambda: runner._group.token._set)
        assert not any(token._set for token in tokens)  # they are over


number: ContextVar[int] = ContextVar("number", default=-1)


# rule 6
async def test_each_item_has_a_context_of_its_own() -> None:
    def call(item: int) -> int:
        before = number.get()
        number.set(item)
        return before

    number.set(1000)
    async with Runner(max_threads=2) as runner, runner.map(call, range(50)) as results:
        assert {result async for result in results} == {1000}
    assert number.get() == 1000


# rule 6
async def test_the_way_back_to_the_event_loop_works_in_an_item() -> None:
    loops_thread = threading.get_ident()

    def call(item: int) -> bool:
        anyio.from_thread.check_cancelled()
        anyio.from_thread.run(anyio.lowlevel.checkpoint)
        return anyio.from_thread.run_sync(threading.get_ident) == loops_thread

    async with Runner(max_threads=2) as runner, runner.map(call, range(20)) as results:
        assert [result async for result in results] == [True] * 20


# rule 10
async def test_calls_lists_what_runs_and_not_what_waits(held_call: type[HeldCall]) -> None:
    made = [held_call() for _ in range(5)]

    def call(held_thread_call: HeldCall) -> str:
        return held_thread_call.stuck()

    async with Runner(max_threads=2) as runner, runner.map(call, made) as results:
        await made[1].inside.wait()
        await made[0].at_rest(runner, 2)
        for info in runner.calls():
            assert info.name == info.function == call.__qualname__
            assert "conftest.py:" in str(info.where)
            assert 0 <= info.age < PATIENCE
            assert not info.stopping
        for blocked in made:
            blocked.released.set()
        assert [result async for result in results] == ["late"] * 5
        assert runner.calls() == []
        assert repr(results) == f"<map of {call.__qualname__} by <Runner>>"
