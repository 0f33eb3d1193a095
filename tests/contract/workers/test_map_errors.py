"""Runner.map over whatever worker: what fails, and what takes too long."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING

import pytest

from asyncrun import Runner
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, runner_of, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_ends_the_map_as_itself_and_the_others_are_asked_to_stop(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], ordered: bool
) -> None:
    failing, heeding = held_process_call(), held_process_call()
    async with runner_of(worker, 2, grace=PATIENCE) as runner:
        items = [("heed", heeding.path), ("fail", failing.path), *[("heed", "")] * 10]
        async with runner.map(
            jobs.fail_or_cooperate, items, worker=worker, ordered=ordered
        ) as results:
            await told(heeding)
            await told(failing)
            failing.release()
            with pytest.raises(LookupError, match="my own") as caught:
                await anext(results)
            (note,) = caught.value.__notes__
            assert note.startswith("item 1 of the map: ('fail', '")
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            assert await told(heeding, "left") == "<StopToken set: another item failed>"
        assert results.started == 2
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9


async def test_the_results_before_a_failing_item_may_be_read_and_its_note_names_it(
    worker: AnyWorker,
) -> None:
    async with runner_of(worker, 1) as runner:
        for _ in range(3):
            async with runner.map(jobs.fail_at_three, count(), worker=worker) as results:
                with pytest.raises(LookupError, match="it is three") as caught:
                    async for result in results:
                        assert result < 3
                assert caught.value.__notes__ == ["item 3 of the map: 3"]
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9


@pytest.mark.parametrize("ordered", [True, False])
async def test_with_return_exceptions_an_error_takes_its_place_and_costs_no_other_result(
    worker: AnyWorker, ordered: bool
) -> None:
    async with (
        runner_of(worker, 2) as runner,
        runner.map(
            jobs.square_of_even, range(99), worker=worker, return_exceptions=True, ordered=ordered
        ) as results,
    ):
        got = [result async for result in results]
        assert (results.done, results.failed) == (99, 66)
        for error in got:
            if isinstance(error, int):
                continue
            (number,) = error.args
            assert type(error) is (None, LookupError, ValueError)[number % 3]
            assert error.__notes__ == [f"item {number} of the map: {number}"]
        values = [result for result in got if isinstance(result, int)]
        assert sorted(values) == [number * number for number in range(0, 99, 3)]
        assert (
            not ordered
            or [type(result) for result in got]
            == [
                int,
                LookupError,
                ValueError,
            ]
            * 33
        )


async def test_a_base_exception_ends_a_map_with_return_exceptions(worker: AnyWorker) -> None:
    async with Runner() as runner:
        for error in (jobs.Alone("mine"), SystemExit(5), KeyboardInterrupt()):
            async with runner.map(
                jobs.throw, [error], worker=worker, return_exceptions=True
            ) as results:
                with pytest.raises(type(error)) as caught:
                    await anext(results)
                assert caught.value.args == error.args
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9


# rule 8
async def test_further_errors_are_logged(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    places = [held_process_call(), held_process_call()]
    items = [("fail", place.path) for place in places]
    async with (
        runner_of(worker, 2, grace=PATIENCE) as runner,
        runner.map(jobs.fail_late_or_soon, items, worker=worker) as results,
    ):
        for place in places:
            await told(place)
        places[0].tell("now")
        with pytest.raises(LookupError, match="my own"):
            await anext(results)
        await told(places[1], "noticed")
        places[1].release()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    assert record.getMessage() == "fail_late_or_soon failed after its caller had stopped waiting"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "too late"


async def test_an_item_that_takes_too_long_is_asked_to_stop_and_ends_the_map(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    item = (1, place.path)
    async with Runner(grace=PATIENCE) as runner:
        await runner.run_sync(abs, -1, worker=worker)
        async with runner.map(jobs.dawdle, [item], worker=worker, item_timeout=0.5) as results:
            with pytest.raises(TimeoutError, match=r"^dawdle took longer than 0\.5 s") as caught:
                await anext(results)
            assert caught.value.__notes__[0].startswith("item 0 of the map: (1, '")
            assert getattr(caught.value, "item") is item  # noqa: B009
            assert (results.started, results.done, results.failed, results.running) == (1, 1, 1, 0)
            assert await told(place, "left") == "<StopToken set: it took longer than 0.5 s>"


@pytest.mark.parametrize("job", ["dawdle", "visit"])
async def test_with_return_exceptions_a_time_out_takes_its_place_and_the_others_go_on(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
    job: str,
) -> None:
    place = held_process_call()
    items = [(number, place.path if number == 30 else "") for number in range(60)]
    async with runner_of(worker, 1, grace=PATIENCE) as runner:
        await runner.run_sync(abs, -1, worker=worker)
        got: list[int | Exception] = []
        async with runner.map(
            getattr(jobs, job), items, worker=worker, item_timeout=0.5, return_exceptions=True
        ) as results:
            async for result in results:
                got.append(result)
                if isinstance(result, TimeoutError) and worker != "process":
                    place.release()  # a process that never looks is killed
        assert isinstance(got[30], TimeoutError)
        assert got[30].__notes__ == [f"item 30 of the map: {items[30]!r}"]
        got[30] = 30
        assert got == list(range(60))
        assert (results.done, results.failed) == (60, 1)
        if job == "visit":
            assert place.has("left") == (worker != "process")
    assert caplog.records == []
