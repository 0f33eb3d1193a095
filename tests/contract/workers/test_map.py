"""Runner.map over whatever worker: what goes in, and what comes out."""

from __future__ import annotations

import functools
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, runner_of, told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncrun import Runner
    from asyncrun._runner.map_results import MapResults
    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio

SQUARES = [number * number for number in range(100)]


async def generate(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        await anyio.lowlevel.checkpoint()
        yield number


INPUTS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(range(100)),
    "range": lambda: range(100),
    "generator": lambda: (number for number in range(100)),
    "async generator": lambda: generate(100),
}


async def test_every_item_of_any_input_gives_one_result(worker: AnyWorker) -> None:
    async with runner_of(worker, 2) as runner:
        for kind, make in INPUTS.items():
            for ordered in (True, False):
                async with runner.map(
                    jobs.square, make(), worker=worker, ordered=ordered
                ) as results:
                    got = [result async for result in results]
                assert results.total == (100 if kind in {"list", "range"} else None)
                assert (results.started, results.done, results.failed) == (100, 100, 0)
                assert results.running == 0
                assert (got if ordered else sorted(got)) == SQUARES
        async with runner.map(jobs.square, list[int](), worker=worker) as results:
            assert [result async for result in results] == []


@pytest.mark.parametrize("buffer", [1, None])
async def test_an_endless_input_is_never_more_than_the_buffer_ahead(
    worker: AnyWorker, buffer: int | None
) -> None:
    received, most = 0, 0

    def numbers() -> Any:
        nonlocal most
        for number in count():
            most = max(most, number + 1 - received)
            yield number

    async with runner_of(worker, 2) as runner:
        async with runner.map(jobs.square, numbers(), worker=worker, buffersize=buffer) as results:
            async for result in results:
                assert result == received * received
                received += 1
                if received == 600:
                    break
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
    assert most <= (buffer or 256)


# rule 7
async def test_a_reader_that_stops_reading_holds_no_slot(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with (
        runner_of(worker, 1) as runner,
        runner.map(jobs.square, count(), worker=worker, buffersize=10) as results,
    ):
        assert await anext(results) == 0
        handle = runner.submit(jobs.stuck, place.path, worker=worker)
        await told(place)
        assert results.done <= 11
        assert results.running == 0
        place.release()
        assert await handle == "late"
        assert [await anext(results) for _ in range(20)] == SQUARES[1:21]


async def test_unordered_results_come_as_they_are_there(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    places = [held_process_call() for _ in range(3)]
    items = [(number, place.path) for number, place in enumerate(places)]
    async with (
        runner_of(worker, 3) as runner,
        runner.map(jobs.visit, items, worker=worker, ordered=False) as results,
    ):
        for place in places:
            await told(place)
        for number in (2, 0, 1):
            places[number].release()
            assert await anext(results) == number
        assert await anext(results, None) is None


async def test_ordered_results_wait_for_the_first_and_quick_items_pass_a_slow_one(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    first, got = held_process_call(), list[int]()
    items = [(number, first.path if number == 40 else "") for number in range(200)]

    async def read(results: MapResults[int]) -> None:
        got.extend([result async for result in results])

    async with (
        runner_of(worker, 2) as runner,
        runner.map(jobs.visit, items, worker=worker) as results,
        anyio.create_task_group() as group,
    ):
        group.start_soon(read, results)
        await brought(lambda: results.done == 199)
        assert (results.started, results.running) == (200, 1)
        assert got == []
        first.release()
    assert got == list(range(200))


async def test_it_counts_what_starts_and_ends(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    places = [held_process_call() for _ in range(3)]
    kinds = ["stuck", "fail", "stuck"]

    def counts() -> tuple[int | None, int, int, int, int]:
        return results.total, results.started, results.done, results.failed, results.running

    async with runner_of(worker, 2) as runner:
        items = [(what, place.path) for what, place in zip(kinds, places, strict=True)]
        results = runner.map(
            jobs.fail_or_stay, items, worker=worker, return_exceptions=True, ordered=False
        )
        assert counts() == (3, 0, 0, 0, 0)
        async with results:
            await told(places[0])
            await told(places[1])
            assert counts() == (3, 2, 0, 0, 2)
            places[1].release()
            assert isinstance(await anext(results), LookupError)
            await told(places[2])
            assert counts() == (3, 3, 1, 1, 2)
            places[0].release()
            assert await anext(results) is None
            assert counts() == (3, 3, 2, 1, 1)
            places[2].release()
            assert await anext(results) is None
        assert counts() == (3, 3, 3, 1, 0)


@pytest.mark.parametrize("limit", [1, 2])
async def test_a_limit_leaves_slots_for_others(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], limit: int
) -> None:
    places = [held_process_call() for _ in range(4)]
    items = [(number, place.path) for number, place in enumerate(places)]
    async with (
        runner_of(worker, 3) as runner,
        runner.map(jobs.visit, items, worker=worker, max_concurrency=limit) as results,
    ):
        for place in places[:limit]:
            await told(place)
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
        assert (results.started, results.running) == (limit, limit)
        for place in places:
            place.release()
        assert [result async for result in results] == [0, 1, 2, 3]


async def test_two_maps_and_single_calls_share_the_slots(worker: AnyWorker) -> None:
    got: dict[int, list[int]] = {}

    async def read(runner: Runner, start: int) -> None:
        async with runner.map(jobs.square, range(start, start + 300), worker=worker) as results:
            got[start] = [result async for result in results]

    async def ask(runner: Runner) -> None:
        for number in range(20):
            assert await runner.run_sync(jobs.square, number, worker=worker) == SQUARES[number]

    async with runner_of(worker, 2) as runner:
        for start in (0, 1000, 2000):
            runner.start_soon(read, runner, start)
        runner.start_soon(ask, runner)
        runner.start_soon(ask, runner)
    assert got == {s: [n * n for n in range(s, s + 300)] for s in (0, 1000, 2000)}


async def test_a_map_of_a_map(worker: AnyWorker) -> None:
    add = functools.partial(int.__add__, 1)
    async with (
        runner_of(worker, 2) as runner,
        runner.map(jobs.square, range(100), worker=worker) as squares,
        runner.map(add, squares, worker=worker) as results,
    ):
        assert [result async for result in results] == [square + 1 for square in SQUARES]


async def test_each_item_has_a_token_of_its_own_which_is_not_set(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    async with (
        runner_of(worker, 1) as runner,
        runner.map(jobs.look_at, range(50), worker=worker) as results,
    ):
        assert {result async for result in results} == {("<StopToken not set>", False)}


# rule 10
async def test_calls_lists_what_runs_and_not_what_waits(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    places = [held_process_call() for _ in range(5)]
    async with (
        runner_of(worker, 2) as runner,
        runner.map(jobs.stuck, [place.path for place in places], worker=worker) as results,
    ):
        locations = {f"process {await told(place)}" for place in places[:2]}
        infos = runner.calls()
        assert [(info.name, info.function, info.stopping) for info in infos] == [
            ("stuck", "stuck", False)
        ] * 2
        assert all(0 <= info.age < PATIENCE for info in infos)
        assert {info.location for info in infos} == (locations if worker == "process" else {None})
        for place in places:
            place.release()
        assert [result async for result in results] == ["late"] * 5
        assert runner.calls() == []
