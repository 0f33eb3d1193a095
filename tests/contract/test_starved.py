"""A call that waits for a slot while stopped calls hold all of them: rules 7 and 26."""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING

import anyio
import pytest

import asyncrun
from asyncrun import Runner
from asyncrun._core.registry import entry_point_reports
from asyncrun._workers import starvation
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, told, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import HeldCall
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio
STUCK = "every slot is held by a call that was asked to stop and has not ended"
HOLDER = r"HeldCall\.stuck, \d+\.\d s, at \S+conftest\.py:\d+"


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if STUCK in record.getMessage()]
    assert {(record.name, record.levelno) for record in records} <= {("asyncrun", logging.WARNING)}
    return [record.getMessage() for record in records]


async def abandon(runner: Runner, *made: HeldCall) -> None:
    """Abandon calls that do not listen, so that they hold slots."""
    for number, blocked in enumerate(made, 1):
        handle = runner.submit(blocked.stuck)
        await blocked.at_rest(runner, number)
        handle.cancel()
        await handle.wait()


async def give_up(runner: Runner, seconds: float) -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(seconds):
        await runner.run_sync(str, 1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said soon, if at all."""
    monkeypatch.setattr(starvation, "PATIENCE", 0.02)
    monkeypatch.setattr(starvation, "LOOK", 0.01)


@pytest.mark.parametrize("seconds", [0.2, 1])
async def test_a_caller_that_gives_up_before_is_told_who_holds_the_slots(
    held_call: type[HeldCall],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    monkeypatch.setattr(starvation, "PATIENCE", PATIENCE)  # it is not told of the wait before
    made = [held_call(), held_call(), held_call()]
    async with Runner(max_threads=3, name="small") as runner:
        await abandon(runner, *made)
        await give_up(runner, seconds)
        (line,) = _lines(caplog)
        head = (
            rf"<Runner 'small'>: str never began, and was given up after {seconds:.1f} s: {STUCK}"
        )
        assert re.fullmatch(rf"{head}: {HOLDER}; {HOLDER}; {HOLDER}", line)
        await give_up(runner, seconds)
        assert len(_lines(caplog)) == 2
        for blocked in made:
            blocked.released.set()
        assert await runner.run_sync(str, 1) == "1"


async def test_without_a_runner_too(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, slots = held_call(), anyio.CapacityLimiter(1)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: asyncrun.run_sync(blocked.stuck, limiter=slots))
        await blocked.inside.wait()
        group.cancel_scope.cancel()
    with anyio.move_on_after(0.2):
        await asyncrun.run_sync(str, 1, limiter=slots)
    blocked.released.set()
    (line,) = _lines(caplog)
    assert re.fullmatch(rf"str never began, and was given up after 0\.2 s: {STUCK}: {HOLDER}", line)
    assert starvation._watches == {}


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_waits_says_so_once(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(max_threads=1) as runner:
        await abandon(runner, blocked)
        served = runner.submit(str, 1, name="served")
        given_up = runner.submit(str, 2, name="other")
        await until(lambda: len(_lines(caplog)) == 2)
        given_up.cancel()
        await given_up.wait()
        with anyio.move_on_after(0.1):
            await served.wait()
        blocked.released.set()
        assert await served == "1"
    first, second = sorted(_lines(caplog))
    assert re.fullmatch(rf"<Runner>: other waits: {STUCK}: {HOLDER}", first)
    assert re.fullmatch(rf"<Runner>: served waits: {STUCK}: {HOLDER}", second)
    assert starvation._watches == {}


async def test_an_item_of_a_map_may_hold_a_slot(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, other = held_call(), held_call()
    async with (
        Runner(max_threads=2) as runner,
        runner.map(lambda each: each.stuck(), [blocked, other]) as results,
    ):
        await blocked.at_rest(runner, 2)
        await give_up(runner, 0.2)
        assert _lines(caplog) == []  # they run, and nobody has asked them to stop
        results._batch.close("enough")
        await give_up(runner, 0.2)
        (line,) = _lines(caplog)
        holder = HOLDER.replace(r"HeldCall\.stuck", r"\S+<lambda>")
        assert re.search(rf"{STUCK}: {holder}; {holder}$", line)
        blocked.released.set()
        other.released.set()


async def test_a_call_in_a_process_that_takes_its_time_to_end_may_hold_one(
    held_process_call: Callable[[], HeldProcessCall], caplog: pytest.LogCaptureFixture
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        handle = runner.submit(jobs.linger, place.path, worker="process")
        pid = await told(place)
        handle.cancel()
        await handle.wait()
        with anyio.move_on_after(0.2):
            await runner.run_sync(jobs.square, 3, worker="process")
        (line,) = _lines(caplog)
        assert re.search(rf"square never began.*: linger, \d+\.\d s, in process {pid}$", line)
        place.release()
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_said_while_any_slot_is_in_good_use(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, healthy = held_call(), held_call()
    async with Runner(max_threads=2) as runner:
        await abandon(runner, blocked)
        runner.submit(healthy.stuck)
        await healthy.inside.wait()
        await give_up(runner, 0.2)
        healthy.released.set()
        blocked.released.set()
    assert _lines(caplog) == []


async def test_nothing_is_said_when_all_are_cancelled_in_one_breath(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(max_threads=1) as runner:
        with anyio.move_on_after(0.3):
            async with anyio.create_task_group() as group:
                group.start_soon(runner.run_sync, blocked.stuck)
                await blocked.inside.wait()
                for number in range(10):
                    group.start_soon(runner.run_sync, str, number)
        blocked.released.set()
    assert _lines(caplog) == []


@pytest.mark.parametrize("is_announced", [True, False])
async def test_nothing_is_said_when_all_ends(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, is_announced: bool
) -> None:
    blocked = held_call()
    async with Runner(max_threads=1, drain_timeout=0.3) as runner:
        await abandon(runner, blocked)
        with anyio.move_on_after(0.2 if is_announced else math.inf):
            if is_announced:
                entry_point_reports.set(lambda: True)
                await runner.run_sync(str, 1)
            runner.submit(str, 1)
            await anyio.sleep(0.2)
            runner.stop()
            await anyio.sleep_forever()
    entry_point_reports.set(lambda: False)
    blocked.released.set()
    assert _lines(caplog) == []


async def test_nothing_is_said_of_one_that_has_hardly_waited(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(max_threads=1) as runner:
        await abandon(runner, blocked)
        handle = runner.submit(str, 1)
        await until(lambda: starvation._watches)
        handle.cancel()
        await handle.wait()
        blocked.released.set()
    assert _lines(caplog) == []


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_said_where_others_than_calls_hold_the_slots(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    slots = anyio.CapacityLimiter(1)
    async with slots:
        with anyio.move_on_after(0.2):
            await asyncrun.run_sync(str, limiter=slots)
    assert _lines(caplog) == []


@pytest.mark.usefixtures("impatient")
async def test_very_many_that_wait_are_summed_up(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(max_threads=1) as runner:
        await abandon(runner, blocked)
        handles = [runner.submit(str, number) for number in range(20)]
        await until(lambda: len(_lines(caplog)) >= 11)
        blocked.released.set()
        assert [await handle for handle in handles] == [str(number) for number in range(20)]
    *lines, last = _lines(caplog)
    assert [line.partition(":")[0] for line in lines] == ["<Runner>"] * 10
    assert re.fullmatch(rf"more calls wait in vain: {STUCK}: {HOLDER}", last)


async def test_a_log_handler_that_fails_does_not_cost_the_cancellation(
    held_call: type[HeldCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, failures = held_call(), list[str]()

    def fail(record: logging.LogRecord) -> bool:
        failures.append(record.getMessage())
        raise LookupError("the disk is full")

    logger = logging.getLogger("asyncrun")
    async with Runner(max_threads=1) as runner:
        await abandon(runner, blocked)
        logger.addFilter(fail)
        try:
            await give_up(runner, 0.2)
        finally:
            logger.removeFilter(fail)
        blocked.released.set()
    assert len(failures) == 1
