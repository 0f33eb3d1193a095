"""Runner.map over whatever worker, when it is left early or its runner stops."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest

import asyncrun
from asyncrun import Runner, Stopped
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, runner_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


class LeavingError(Exception):
    pass


async def _leave(how: str, scope: anyio.CancelScope) -> None:
    if how == "error":
        raise LeavingError
    if how == "cancellation":
        scope.cancel()
        await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("how", "ordered"), [("break", True), ("error", False), ("cancellation", True)]
)
async def test_what_runs_is_asked_to_stop_and_what_waits_is_dropped(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], how: str, ordered: bool
) -> None:
    places = [held_process_call(), held_process_call()]
    items = [(0, ""), (1, places[0].path), (2, places[1].path), *[(3, "none")] * 1000]
    async with runner_of(worker, 2, grace=PATIENCE) as runner:
        results = runner.map(jobs.dawdle, items, worker=worker, ordered=ordered)
        with suppress(LeavingError), anyio.CancelScope() as scope:
            async with results:
                async for number in results:
                    assert number == 0
                    for place in places:
                        await told(place)
                    await _leave(how, scope)
                    break
        assert how == "cancellation" or all(place.has("left") for place in places)
        for place in places:
            assert await told(place, "left") == "<StopToken set: its map was left>"
        assert results.started == 3
        await brought(lambda: results.running == 0)
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9


async def test_breaking_out_of_an_endless_map_leaves_room_for_the_next_many_times(
    worker: AnyWorker,
) -> None:
    async with runner_of(worker, 2) as runner:
        for _ in range(15):
            async with runner.map(jobs.square, count(), worker=worker) as results:
                async for result in results:
                    if result == 49:
                        break
        await brought(lambda: not runner.calls())
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9


async def test_what_is_left_gives_no_late_answer_to_the_next(worker: AnyWorker) -> None:
    async with runner_of(worker, 1) as runner:
        for start in range(0, 3000, 100):
            async with runner.map(jobs.square, count(start), worker=worker) as results:
                assert [await anext(results) for _ in range(5)] == [
                    number * number for number in range(start, start + 5)
                ]
            assert await runner.run_sync(jobs.square, start, worker=worker) == start * start


# rules 9 and 18
async def test_leaving_waits_for_an_item_that_met_a_safe_point(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()

    async def open_it() -> None:
        await told(place, "noticed")
        await anyio.wait_all_tasks_blocked()
        place.release()

    async with Runner(grace=PATIENCE) as runner:
        async with runner.map(jobs.linger, [place.path], worker=worker):
            await told(place)
            runner.start_soon(open_it)
        assert place.has("left")
        assert runner.calls() == []


# rules 9, 10 and 18
async def test_leaving_does_not_wait_for_an_item_that_met_none(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        async with runner.map(jobs.stuck, [place.path] * 3, worker=worker):
            await told(place)
        if worker == "process":
            assert (
                await runner.run_sync(jobs.is_alive, int(place.read("inside")), worker=worker) == 0
            )
    assert not place.has("left")
    if worker != "process":
        assert "left running: stuck, " in caplog.text
    else:
        assert caplog.records == []
        assert runner.calls() == []


# rules 9 and 18
async def test_the_grace_is_bounded(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    async with (
        Runner(grace=0.05) as runner,
        runner.map(jobs.look_once, [place.path], worker=worker),
    ):
        await told(place)
    assert not place.has("left")
    assert ("left running" in caplog.text) == (worker != "process")
    assert worker != "process" or not jobs.is_alive(int(place.read("inside")))


async def test_a_cancellation_cuts_the_grace_short(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await told(place, "noticed")
                scope.cancel()

            async with runner.map(jobs.linger, [place.path], worker=worker):
                await told(place)
                runner.start_soon(cancel)
        assert scope.cancelled_caught
        assert not place.has("left")
        place.release()


# rules 9 and 18
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_stop_of_the_runner_ends_the_map_and_flags_its_items(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], elsewhere: bool
) -> None:
    places = [held_process_call(), held_process_call()]
    items = [*enumerate(place.path for place in places), *[(2, "none")] * 100]
    runner, started = runner_of(worker, 2, grace=PATIENCE), list[int]()
    async with runner, runner.map(jobs.dawdle, items, worker=worker) as results:
        for place in places:
            await told(place)
        started.append(results.started)
        if elsewhere:
            await asyncrun.run_sync(runner.stop, "enough")
        else:
            runner.stop("enough")
        await anext(results)
    for place in places:
        assert place.read("left").startswith("<StopToken set: ")
    assert started == [2]
    assert runner.calls() == []


async def test_a_stop_ends_a_map_of_a_task_outside_with_stopped(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    runner = Runner(grace=PATIENCE)

    async def outside() -> None:
        with pytest.raises(Stopped, match="asked to stop: enough"):
            async with runner.map(jobs.cooperative, [place.path], worker=worker) as results:
                await anext(results)

    async with anyio.create_task_group() as group, runner:
        group.start_soon(outside)
        await told(place)
        runner.stop("enough")
    assert place.read("left").startswith("<StopToken set: ")


# rule 3
async def test_a_token_callback_runs_when_the_map_is_left(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        async with runner.map(jobs.woken, [place.path], worker=worker):
            await told(place)
        assert place.read("left") == "<StopToken set: its map was left>"


async def test_items_that_no_one_waits_for_are_not_run_after_the_map_was_left(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    items = ((place.path, number) for number in count())
    async with runner_of(worker, 2) as runner:
        async with runner.map(jobs.noted_square, items, worker=worker, buffersize=200) as results:
            for number in range(50):
                assert await anext(results) == number * number
        await brought(lambda: not runner.calls())
        noted = place.notes()
        assert len(set(noted)) == len(noted)  # none ran twice
        # One that has begun may be killed before it has noted that.
        assert 0 <= results.started - len(noted) <= (2 if worker == "process" else 0)
        # Another one would have been sent with those: here is who would run it.
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
        assert place.notes() == noted


async def test_a_failing_input_ends_the_map_after_the_results_before(worker: AnyWorker) -> None:
    def numbers() -> Iterator[int]:
        yield from range(10)
        raise LeavingError

    async with runner_of(worker, 2) as runner:
        got: list[int] = []
        with pytest.raises(LeavingError):
            async with runner.map(jobs.square, numbers(), worker=worker) as results:
                async for result in results:
                    got.append(result)  # noqa: PERF401 - it is to see what came before the error
        assert got == [number * number for number in range(10)]
