"""Runner.map: what goes in, what comes out, in which order, and what it counts."""

from __future__ import annotations

import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner
from tests.contract.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


class Numbers:
    """An async iterator without a generator."""

    def __init__(self, stop: int) -> None:
        self.numbers = iter(range(stop))

    def __aiter__(self) -> Numbers:
        return self

    async def __anext__(self) -> int:
        await anyio.lowlevel.checkpoint()
        for number in self.numbers:
            return number
        raise StopAsyncIteration


class Legacy:
    """An iterable of the oldest kind."""

    def __getitem__(self, index: int) -> int:
        return range(100)[index]


async def generate(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        await anyio.lowlevel.checkpoint()
        yield number


INPUTS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(range(100)),
    "range": lambda: range(100),
    "dict": lambda: dict.fromkeys(range(100)),
    "iterator": lambda: iter(range(100)),
    "generator": lambda: (number for number in range(100)),
    "legacy": Legacy,
    "async generator": lambda: generate(100),
    "async iterator": lambda: Numbers(100),
}


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", INPUTS)
async def test_every_item_of_any_input_gives_one_result(kind: str, ordered: bool) -> None:
    async with (
        Runner(max_threads=4) as runner,
        runner.map(str, INPUTS[kind](), ordered=ordered) as results,
    ):
        got = [result async for result in results]
        assert results.total == (100 if kind in {"list", "range", "dict"} else None)
        assert (results.started, results.done, results.failed) == (100, 100, 0)
        assert sorted(got, key=int) == [str(number) for number in range(100)]
        assert not ordered or got == sorted(got, key=int)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("items", [list[int], lambda: generate(0)])
async def test_no_items_give_no_results(items: Callable[[], Any], ordered: bool) -> None:
    async with Runner() as runner, runner.map(str, items(), ordered=ordered) as results:
        assert [result async for result in results] == []
        assert [result async for result in results] == []


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ordered", [True, False])
async def test_the_input_is_iterated_in_the_event_loops_thread_and_items_run_elsewhere(
    ordered: bool, asynchronous: bool
) -> None:
    iterating, calling = set[int](), set[int]()

    def numbers() -> Iterator[int]:
        for number in range(300):
            iterating.add(threading.get_ident())
            yield number

    async def async_numbers() -> AsyncIterator[int]:
        for number in numbers():
            await anyio.lowlevel.checkpoint()
            iterating.add(threading.get_ident())
            yield number

    def call(number: int) -> None:
        calling.add(threading.get_ident())

    items = async_numbers() if asynchronous else numbers()
    async with (
        Runner(max_threads=3) as runner,
        runner.map(call, items, ordered=ordered, buffersize=5) as results,
    ):
        assert len([result async for result in results]) == 300
    assert iterating == {threading.get_ident()}
    assert 1 <= len(calling) <= 300
    assert threading.get_ident() not in calling


class Distance:
    """How far an input has been ahead of its reader, at most."""

    produced = received = most = 0

    def numbers(self) -> Iterator[int]:
        while True:
            self.produced += 1
            self.most = max(self.most, self.produced - self.received)
            yield self.produced


@pytest.mark.parametrize("buffer", [1, 2, 7])
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ordered", [True, False])
async def test_the_input_is_never_more_than_the_buffer_ahead_of_the_reader(
    ordered: bool, asynchronous: bool, buffer: int
) -> None:
    distance = Distance()

    async def async_numbers() -> AsyncGenerator[int]:
        for number in distance.numbers():
            yield number
            await anyio.lowlevel.checkpoint()

    async with aclosing(async_numbers()) as async_items, Runner(max_threads=3) as runner:
        items = async_items if asynchronous else distance.numbers()
        async with runner.map(str, items, ordered=ordered, buffersize=buffer) as results:
            async for _ in results:
                distance.received += 1
                if distance.received == 200:
                    break
    assert distance.most <= buffer


@pytest.mark.parametrize(
    ("threads", "limit", "buffer"),
    [(2, None, 256), (2, 1, 256), (70, None, 280), (70, 65, 260), (None, 1000, 256)],
)
async def test_the_buffer_is_four_items_a_slot_by_default_and_at_least_256(
    threads: int | None, limit: int | None, buffer: int
) -> None:
    distance = Distance()
    async with (
        Runner(max_threads=threads) as runner,
        runner.map(str, distance.numbers(), ordered=False, max_concurrency=limit) as results,
    ):
        async for _ in results:
            distance.received += 1
            if distance.received >= 1000 and distance.most >= buffer:
                break
    assert distance.most == buffer


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("ordered", [True, False])
async def test_a_reader_that_stops_reading_costs_the_buffer_and_nothing_else(
    ordered: bool, asynchronous: bool
) -> None:
    async def later(items: Iterator[int]) -> AsyncGenerator[int]:
        for item in items:
            yield item

    taken = iter(range(100_000))
    async with (
        Runner(max_threads=2) as runner,
        aclosing(later(taken)) as async_items,
        runner.map(
            str, async_items if asynchronous else taken, ordered=ordered, buffersize=10
        ) as results,
    ):
        for _ in range(30):
            await anext(results)
        await anyio.wait_all_tasks_blocked()
        await until(lambda: results.done == results._input.pulled)
        await anyio.wait_all_tasks_blocked()
        done = results.done
        assert 30 <= done <= 40
        assert (results.started, results.running) == (done, 0)
        assert next(taken) == done
        assert runner.calls() == []


# rule 7
async def test_a_reader_that_does_not_read_holds_no_slot(held_call: type[HeldCall]) -> None:
    made = [held_call() for _ in range(3)]
    async with (
        Runner(max_threads=3) as runner,
        runner.map(str, range(100), buffersize=10) as results,
    ):
        assert await anext(results) == "0"
        handles = [runner.submit(blocked.stuck) for blocked in made]
        for blocked in made:
            await blocked.inside.wait()
        for blocked in made:
            blocked.released.set()
        assert [await handle for handle in handles] == ["late"] * 3
        assert len([result async for result in results]) == 99


async def test_unordered_results_come_as_they_are_there(held_call: type[HeldCall]) -> None:
    made = [held_call() for _ in range(3)]

    def call(number: int) -> int:
        made[number].stuck()
        return number

    async with (
        Runner(max_threads=3) as runner,
        runner.map(call, range(3), ordered=False) as results,
    ):
        for number in (2, 0, 1):
            await made[number].inside.wait()
            made[number].released.set()
            assert await anext(results) == number
        assert await anext(results, None) is None


async def test_ordered_results_wait_for_the_first(held_call: type[HeldCall]) -> None:
    first, got = held_call(), list[int]()

    def call(number: int) -> int:
        if number == 0:
            first.stuck()
        return number

    async def read(results: AsyncIterator[int]) -> None:
        got.extend([result async for result in results])

    async with (
        Runner(max_threads=2) as runner,
        runner.map(call, range(20)) as results,
        anyio.create_task_group() as group,
    ):
        group.start_soon(read, results)
        await until(lambda: results.done == 19)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        first.released.set()
    assert got == list(range(20))


async def test_it_counts_what_starts_and_ends(held_call: type[HeldCall]) -> None:
    made = [held_call() for _ in range(3)]

    def call(held_thread_call: HeldCall) -> None:
        held_thread_call.stuck()
        if held_thread_call is made[1]:
            raise LookupError

    def counts() -> tuple[int | None, int, int, int, int]:
        return results.total, results.started, results.done, results.failed, results.running

    async with Runner(max_threads=2) as runner:
        results = runner.map(call, made, return_exceptions=True, ordered=False)
        assert counts() == (3, 0, 0, 0, 0)
        async with results:
            await made[0].inside.wait()
            await made[1].inside.wait()
            assert counts() == (3, 2, 0, 0, 2)
            made[1].released.set()
            assert isinstance(await anext(results), LookupError)
            await made[2].inside.wait()
            assert counts() == (3, 3, 1, 1, 2)
            made[0].released.set()
            assert await anext(results) is None
            assert counts() == (3, 3, 2, 1, 1)
            made[2].released.set()
            assert await anext(results) is None
            assert counts() == (3, 3, 3, 1, 0)
        assert counts() == (3, 3, 3, 1, 0)
