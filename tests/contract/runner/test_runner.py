"""The Runner: leaving, stopping, errors and reports: DESIGN.md's rules 9, 10 and 12."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner, Stopped, safe_point, stop_token

if TYPE_CHECKING:
    from tests.contract.conftest import Gate

pytestmark = pytest.mark.anyio
PATIENCE = 30.0


# rule 9
async def test_leaving_waits_for_calls_and_tasks(gate: type[Gate]) -> None:
    door, order = gate(), list[str]()

    def call() -> None:
        door.stuck()
        order.append("call")

    async def task(runner: Runner) -> None:
        await door.inside.wait()
        door.opened.set()
        await runner.run_sync(order.append, "from a task")

    async with Runner() as runner:
        runner.submit(call)
        runner.start_soon(task, runner)
    assert sorted(order) == ["call", "from a task"]


# rule 9
async def test_leaving_waits_for_calls_that_tasks_outside_await(gate: type[Gate]) -> None:
    door, results = gate(), list[str]()
    runner = Runner()

    async def outside() -> None:
        results.append(await runner.run_sync(door.stuck))

    async def open_it() -> None:
        await door.inside.wait()
        await anyio.wait_all_tasks_blocked()
        assert results == []
        door.opened.set()

    async with anyio.create_task_group() as group:
        async with runner:
            group.start_soon(outside)
            await door.inside.wait()
            group.start_soon(open_it)
        assert results == ["late"]


async def test_submit_gives_anyios_task_handle(gate: type[Gate]) -> None:
    async with Runner() as runner:
        handle = runner.submit(divmod, 7, 3, name="a division")
        assert isinstance(handle, anyio.TaskHandle)
        assert handle.name == "a division"
        assert await handle == (2, 1)
        door = gate()
        stuck = runner.submit(door.stuck)
        assert stuck.name.endswith("Gate.stuck")
        await door.inside.wait()
        stuck.cancel()
        await stuck.wait()
        assert stuck.status is anyio.TaskHandle.Status.CANCELLED
        assert door.token.is_set()
        door.opened.set()


async def test_start_soon_gives_anyios_task_handle() -> None:
    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    async with Runner() as runner:
        handle = runner.start_soon(double, 21, name="twice")
        assert isinstance(handle, anyio.TaskHandle)
        assert handle.name == "twice"
        assert await handle == 42


# rule 9
async def test_an_error_sets_every_token_before_the_group_ends(gate: type[Gate]) -> None:
    inside, outside = gate(), gate()
    seen: list[bool] = []
    runner = Runner()

    async def await_outside() -> None:
        with pytest.raises(Stopped, match="its runner failed with LookupError"):
            await runner.run_sync(outside.stuck)

    async def clean_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.extend([inside.token._set, outside.token._set])  # a look would count

    async def fail() -> None:
        await inside.inside.wait()
        await outside.inside.wait()
        raise LookupError

    async with anyio.create_task_group() as group:
        with pytest.raises(ExceptionGroup):
            async with runner:
                group.start_soon(await_outside)
                runner.submit(inside.stuck)
                runner.start_soon(clean_up)
                runner.start_soon(fail)
        assert seen == [True, True]
        inside.opened.set()
        outside.opened.set()


# rule 9
@pytest.mark.parametrize("leaving", [False, True])
async def test_a_cancellation_from_outside_sets_every_token_at_once(
    gate: type[Gate], leaving: bool
) -> None:
    door = gate()
    runner = Runner()

    async def await_outside() -> None:
        with pytest.raises(Stopped, match="its runner was cancelled"):
            await runner.run_sync(door.stuck)

    async def hold(scope: anyio.CancelScope) -> None:
        with scope:
            async with runner:
                runner.start_soon(clean_up)
                if not leaving:
                    await anyio.sleep_forever()

    async def clean_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                # The group has not ended yet, and will not before this.
                while not door.token.is_set():
                    await anyio.lowlevel.checkpoint()
            door.opened.set()

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(hold, scope)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(await_outside)
        await door.inside.wait()
        await anyio.wait_all_tasks_blocked()
        scope.cancel()


# rule 9
@pytest.mark.parametrize("heed", ["safe_point", "is_set", "wait", "on_stop"])
async def test_leaving_on_an_error_waits_for_a_call_that_met_a_safe_point(
    gate: type[Gate], heed: str
) -> None:
    door = gate()

    def cooperate() -> None:
        match heed:
            case "safe_point":
                safe_point()
            case "is_set":
                stop_token().is_set()
            case "wait":
                stop_token().wait(0)
            case _:
                with stop_token().on_stop(door.opened.set):
                    door.stuck()
                return
        door.enter()
        assert stop_token().wait(PATIENCE)
        door.left.set()

    runner = Runner(grace=PATIENCE)
    with pytest.RaisesGroup(LookupError):
        async with runner:
            runner.submit(cooperate)
            await door.inside.wait()
            raise LookupError
    assert door.left.is_set()
    assert runner.calls() == []


# rules 9 and 10
async def test_leaving_on_an_error_reports_and_does_not_wait_for_a_call_that_met_none(
    gate: type[Gate], caplog: pytest.LogCaptureFixture
) -> None:
    door = gate()
    runner = Runner(grace=PATIENCE, name="ingest")
    with pytest.RaisesGroup(LookupError):
        async with runner:
            runner.submit(door.stuck, name="page 7")
            await door.at_rest(runner)
            raise LookupError
    assert not door.left.is_set()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    message = record.getMessage()
    assert message.startswith("<Runner 'ingest'>: left running: page 7 (")
    assert "Gate.stuck), 0." in message
    assert f"at {__file__.replace('runner/test_runner', 'conftest')}:" in message
    assert [info.name for info in runner.calls()] == ["page 7"]
    door.opened.set()


# rule 9
async def test_the_grace_is_bounded(gate: type[Gate], caplog: pytest.LogCaptureFixture) -> None:
    door = gate()

    def look_once() -> None:
        safe_point()
        door.stuck()

    with pytest.RaisesGroup(LookupError):
        async with Runner(grace=0.01) as runner:
            runner.submit(look_once)
            await door.inside.wait()
            raise LookupError
    assert not door.left.is_set()
    assert len(caplog.records) == 1


# rule 9
async def test_leaving_normally_does_not_wait_for_an_abandoned_call_that_met_no_safe_point(
    gate: type[Gate], caplog: pytest.LogCaptureFixture
) -> None:
    door = gate()
    async with Runner(grace=PATIENCE) as runner:
        handle = runner.submit(door.stuck)
        await door.inside.wait()
        handle.cancel()
    assert not door.left.is_set()
    assert len(caplog.records) == 1


# rule 10
async def test_many_leftovers_are_summed_up(
    gate: type[Gate], caplog: pytest.LogCaptureFixture
) -> None:
    doors = [gate() for _ in range(12)]
    with pytest.RaisesGroup(LookupError):
        async with Runner() as runner:
            for door in doors:
                runner.submit(door.stuck)
            await doors[0].at_rest(runner, len(doors))
            raise LookupError
    (record,) = caplog.records
    assert "left running: 12 x " in record.getMessage()


async def test_calls_tells_what_is_running(gate: type[Gate]) -> None:
    before = time.monotonic()
    door, other = gate(), gate()
    async with Runner() as runner, Runner() as neighbour:
        assert runner.calls() == []
        runner.submit(door.stuck, name="first")
        await door.at_rest(runner)
        neighbour.submit(other.stuck)
        await other.inside.wait()
        (info,) = runner.calls()
        assert info.name == "first"
        assert info.function.endswith("Gate.stuck")
        assert 0 <= info.age <= time.monotonic() - before
        assert info.where is not None
        assert "conftest.py:" in info.where
        assert not info.stopping
        door.opened.set()
        other.opened.set()


async def test_calls_that_run_c_code_have_no_line() -> None:
    lock = threading.Lock()
    lock.acquire()
    async with Runner() as runner:
        runner.submit(lock.acquire)
        while not runner.calls():
            await anyio.lowlevel.checkpoint()
        (info,) = runner.calls()
        assert info.where is None
        assert "no Python line" in str(info)
        lock.release()


# rule 4
async def test_a_task_that_a_call_starts_does_not_get_its_token(gate: type[Gate]) -> None:
    door, seen = gate(), list[bool]()

    async def later() -> None:
        await door.inside.wait()
        seen.append(stop_token().is_set())

    async with Runner() as runner:

        def start_it() -> None:
            anyio.from_thread.run_sync(runner.start_soon, later)
            door.stuck()

        handle = runner.submit(start_it)
        await door.inside.wait()
        handle.cancel()
        await handle.wait()
        door.opened.set()
    assert seen == [False]
