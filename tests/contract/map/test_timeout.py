"""Runner.map with a time-out for each item, and slots that stuck threads hold."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrun import CallTimeoutError, ItemTimeoutError, Runner, stop_token
from asyncrun._runner import map_results
from asyncrun._runner.map_scheduler import MapScheduler
from asyncrun._workers.thread.worker import ThreadWorker
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that cannot go on says so soon."""
    monkeypatch.setattr(map_results, "STALL_CHECK_INTERVAL", SHORT)


SHORT = 0.02
STUCK = "every slot is held by a call that was asked to stop and has not ended"


def _borrowed(runner: Runner) -> int:
    worker = runner._workers["thread"]
    assert isinstance(worker, ThreadWorker)
    return int(worker._slots._limiter.borrowed_tokens)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return those that tell that a map is stuck."""
    return [record for record in caplog.records if STUCK in record.getMessage()]


def _is_right(outcome: object, wanted: object) -> bool:
    """Return whether an item got a slot; a thread that waits for a core may be too late with it."""
    return outcome == wanted or isinstance(outcome, TimeoutError)


async def _open_when_warned(caplog: pytest.LogCaptureFixture, held_thread_call: HeldCall) -> None:
    await until(lambda: _warnings(caplog))
    held_thread_call.released.set()


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_item_that_takes_too_long_is_asked_to_stop_and_ends_the_map(
    held_call: type[HeldCall], ordered: bool
) -> None:
    blocked = held_call()
    async with Runner() as runner:
        async with runner.map(
            enter_door, [blocked], item_timeout=SHORT, ordered=ordered
        ) as results:
            with pytest.raises(
                TimeoutError, match=r"enter_door took longer than 0\.02 s"
            ) as caught:
                await anext(results)
            assert caught.value.__notes__[0].startswith("item 0 of the map: <")
            assert getattr(caught.value, "item") is blocked  # noqa: B009
            assert blocked.token._set
            assert blocked.token.reason == "it took longer than 0.02 s"
            assert not blocked.left.is_set()
            assert (results.started, results.done, results.failed, results.running) == (1, 1, 1, 0)
            (info,) = runner.calls()
            assert info.stopping
        blocked.released.set()


def enter_door(held_thread_call: HeldCall) -> str:
    return held_thread_call.stuck()


@pytest.mark.parametrize("ordered", [True, False])
async def test_with_return_exceptions_a_time_out_takes_its_place_and_its_slot_stays_taken(
    held_call: type[HeldCall], ordered: bool
) -> None:
    stuck, at_once, most = held_call(), set[int](), set[int]()

    def call(number: int) -> int:
        if number == 3:
            stuck.stuck()
        at_once.add(number)
        if stuck.inside.is_set() and not stuck.released.is_set():
            most.add(len(at_once))
        at_once.remove(number)
        return number

    async with Runner(max_threads=2) as runner:
        async with runner.map(
            call, range(50), item_timeout=1.0, return_exceptions=True, ordered=ordered, buffersize=5
        ) as results:
            got: list[int | Exception] = []
            async for result in results:
                got.append(result)
                assert _borrowed(runner) >= (not stuck.left.is_set() and stuck.inside.is_set())
            (error,) = [result for result in got if isinstance(result, Exception)]
            assert isinstance(error, TimeoutError)
            assert error.__notes__ == ["item 3 of the map: 3"]
            numbers = [3 if result is error else result for result in got]
            assert sorted(numbers, key=str) == sorted(range(50), key=str)
            assert not ordered or numbers == list(range(50))
            assert (results.done, results.failed) == (50, 1)
            assert most == {1}
            await until(lambda: _borrowed(runner) == 1)  # the other loop has nothing to do
            assert [info.stopping for info in runner.calls()] == [True]
            stuck.released.set()
        await until(lambda: _borrowed(runner) == 0)


async def test_a_time_out_is_told_from_a_timeout_error_that_an_item_raises_itself(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()

    def call(item: str) -> str:
        if item == "raises":
            raise TimeoutError("timed out")  # as sockets do
        return blocked.stuck()

    async with Runner() as runner:
        items = ["raises", "is stuck"]
        async with runner.map(call, items, item_timeout=SHORT, return_exceptions=True) as results:
            own, ours = [result async for result in results]
        assert isinstance(own, TimeoutError)
        assert not isinstance(own, CallTimeoutError)
        assert isinstance(ours, ItemTimeoutError)
        assert (ours.item, ours.seconds) == ("is stuck", SHORT)
        assert ours.name.endswith("call")
        blocked.released.set()


async def test_what_waits_for_a_slot_does_not_time_out(held_call: type[HeldCall]) -> None:
    blocked = held_call()
    async with Runner(max_threads=1) as runner:
        handle = runner.submit(blocked.stuck)
        await blocked.inside.wait()
        async with runner.map(str, range(3), item_timeout=0.5) as results:
            await anyio.sleep(0.6)  # more than the time-out, and none of them has begun
            assert results.started == 0
            blocked.released.set()
            assert [result async for result in results] == ["0", "1", "2"]
        assert await handle == "late"


@pytest.mark.parametrize("seconds", [math.inf, 1e12, 10**9])
async def test_a_time_out_may_be_long(held_call: type[HeldCall], seconds: float) -> None:
    blocked = held_call()
    async with (
        Runner() as runner,
        runner.map(enter_door, [blocked], item_timeout=seconds) as results,
    ):
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        blocked.released.set()
        assert [result async for result in results] == ["late"]


# rule 8
async def test_what_ends_after_its_time_out_is_dropped_and_its_errors_are_logged(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call() for _ in range(4)]

    def call(number: int) -> int:
        blocked = made[number]
        if number == 1:
            blocked.cooperative()
        blocked.stuck()
        if number == 2:
            raise LookupError
        if number == 3:
            anyio.from_thread.check_cancelled()  # nothing cancels it
        return number

    async with (
        Runner() as runner,
        runner.map(
            call, range(4), item_timeout=SHORT, return_exceptions=True, ordered=False
        ) as results,
    ):
        for _ in made:
            assert isinstance(await anext(results), TimeoutError)
        assert (results.done, results.failed) == (4, 4)
        for blocked in made:
            blocked.released.set()
        await until(lambda: not runner.calls())
        await until(lambda: caplog.records)
        assert await anext(results, None) is None
        assert (results.done, results.failed, results.running) == (4, 4, 0)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


@pytest.mark.parametrize("limit", [None, 2])
async def test_when_stuck_threads_hold_every_slot_it_says_so_once_and_goes_on_when_one_ends(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, limit: int | None
) -> None:
    made = [held_call(), held_call()]

    def call(number: int) -> int:
        if number < 2:
            made[number].stuck()
        return number

    async with Runner(max_threads=2 if limit is None else 5) as runner:
        results = runner.map(
            call, range(5), item_timeout=SHORT, return_exceptions=True, max_concurrency=limit
        )
        async with results:
            for _ in made:
                assert isinstance(await anext(results), TimeoutError)
            assert results.started == 2
            runner.start_soon(_open_when_warned, caplog, made[1])
            got = [result async for result in results]
            assert all(map(_is_right, got, [2, 3, 4]))
        made[0].released.set()
        (record,) = _warnings(caplog)
        assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
        head, _, holders = record.getMessage().partition(f" waits: {STUCK}: ")
        assert head == repr(results)
        assert all("call, " in each and "conftest.py:" in each for each in holders.split("; "))
        assert len(holders.split("; ")) == 2


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The findings of a reader that waits, whenever it looked whether its map is stuck."""
    found: list[bool] = []
    is_stuck = MapScheduler.is_stalled

    def look(scheduler: MapScheduler) -> bool:
        found.append(is_stuck(scheduler))
        return found[-1]

    monkeypatch.setattr(MapScheduler, "is_stalled", look)
    return found


async def test_it_says_nothing_as_long_as_an_item_of_its_own_runs(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, looks: list[bool]
) -> None:
    stuck, running = held_call(), held_call()

    async def open_when_looked_at() -> None:
        await until(lambda: len(looks) >= 3 or any(looks))
        running.released.set()

    async with Runner(max_threads=2) as runner:
        handle = runner.submit(stuck.stuck)
        await stuck.inside.wait()
        handle.cancel()
        async with runner.map(enter_door, [running, running]) as results:
            runner.start_soon(open_when_looked_at)
            assert [result async for result in results] == ["late", "late"]
        stuck.released.set()
    assert looks == [False] * len(looks)
    assert _warnings(caplog) == []


async def test_it_says_nothing_for_what_one_look_alone_has_found(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, looks = held_call(), 0

    def is_stuck(_: object) -> bool:
        nonlocal looks
        looks += 1
        if looks == 6:
            blocked.released.set()
        return looks % 2 == 1  # as in the moment in which a call is asked to stop

    monkeypatch.setattr(MapScheduler, "is_stalled", is_stuck)
    async with Runner() as runner, runner.map(enter_door, [blocked]) as results:
        assert await anext(results) == "late"
    assert looks >= 6
    assert _warnings(caplog) == []


async def test_it_says_nothing_where_nothing_waits_for_a_slot(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, looks: list[bool]
) -> None:
    blocked = held_call()

    async def items() -> AsyncIterator[HeldCall]:
        yield blocked
        await until(lambda: len(looks) >= 3 or any(looks))

    async with (
        Runner(max_threads=1) as runner,
        runner.map(enter_door, items(), item_timeout=SHORT, return_exceptions=True) as results,
    ):
        assert [type(result).__name__ async for result in results] == ["ItemTimeoutError"]
        blocked.released.set()
    assert looks == [False] * len(looks)
    assert _warnings(caplog) == []


async def test_it_says_so_when_calls_that_are_not_its_own_hold_every_slot(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call(), held_call()]
    async with Runner(max_threads=2) as runner:
        for blocked in made:
            handle = runner.submit(blocked.stuck)
            await blocked.inside.wait()
            handle.cancel()
            await handle.wait()
        async with runner.map(str, range(3)) as results:
            runner.start_soon(_open_when_warned, caplog, made[0])
            assert [result async for result in results] == ["0", "1", "2"]
        made[1].released.set()
    assert len(_warnings(caplog)) == 1


async def test_it_says_so_when_what_waits_has_come_after_all_slots_were_stuck(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, more = held_call(), anyio.Event()

    async def items() -> AsyncIterator[HeldCall]:
        yield blocked
        await more.wait()
        yield blocked

    async with (
        Runner(max_threads=1) as runner,
        runner.map(enter_door, items(), item_timeout=SHORT, return_exceptions=True) as results,
    ):
        assert isinstance(await anext(results), TimeoutError)
        assert _warnings(caplog) == []
        more.set()
        runner.start_soon(_open_when_warned, caplog, blocked)
        assert _is_right(await anext(results), "late")
    assert len(_warnings(caplog)) == 1


async def test_an_item_that_times_out_at_a_safe_point_gives_its_slot_to_the_next(
    held_call: type[HeldCall],
) -> None:
    def call(number: int) -> int:
        if number % 2:
            stop_token().sleep(PATIENCE)
        return number

    async with (
        Runner(max_threads=1) as runner,
        runner.map(call, range(6), item_timeout=0.5, return_exceptions=True) as results,
    ):
        got = [result async for result in results]
        assert [type(result).__name__ for result in got] == ["int", "ItemTimeoutError"] * 3
