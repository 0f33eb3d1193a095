"""The Runner: leaving, stopping, errors and reports: rules 9, 10 and 12."""

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
    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio
PATIENCE = 30.0


# rule 9
async def test_leaving_waits_for_calls_and_tasks(held_call: type[HeldCall]) -> None:
    blocked, order = held_call(), list[str]()

    def call() -> None:
        blocked.stuck()
        order.append("call")

    async def task(runner: Runner) -> None:
        await blocked.inside.wait()
        blocked.released.set()
        await runner.run_sync(order.append, "from a task")

    async with Runner() as runner:
        runner.submit(call)
        runner.start_soon(task, runner)
    assert sorted(order) == ["call", "from a task"]


# rule 9
async def test_leaving_waits_for_calls_that_tasks_outside_await(held_call: type[HeldCall]) -> None:
    blocked, results = held_call(), list[str]()
    runner = Runner()

    async def outside() -> None:
        results.append(await runner.run_sync(blocked.stuck))

    async def open_it() -> None:
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        assert results == []
        blocked.released.set()

    async with anyio.create_task_group() as group:
        async with runner:
            group.start_soon(outside)
            await blocked.inside.wait()
            group.start_soon(open_it)
        assert results == ["late"]


async def test_submit_gives_anyios_task_handle(held_call: type[HeldCall]) -> None:
    async with Runner() as runner:
        handle = runner.submit(divmod, 7, 3, name="a division")
        assert isinstance(handle, anyio.TaskHandle)
        assert handle.name == "a division"
        assert await handle == (2, 1)
        blocked = held_call()
        stuck = runner.submit(blocked.stuck)
        assert stuck.name.endswith("HeldCall.stuck")
        await blocked.inside.wait()
        stuck.cancel()
        await stuck.wait()
        assert stuck.status is anyio.TaskHandle.Status.CANCELLED
        assert blocked.token.is_set()
        blocked.released.set()


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
async def test_an_error_sets_every_token_before_the_group_ends(held_call: type[HeldCall]) -> None:
    inside, outside = held_call(), held_call()
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
        inside.released.set()
        outside.released.set()


# rule 9
@pytest.mark.parametrize("leaving", [False, True])
async def test_a_cancellation_from_outside_sets_every_token_at_once(
    held_call: type[HeldCall], leaving: bool
) -> None:
    blocked = held_call()
    runner = Runner()

    async def await_outside() -> None:
        with pytest.raises(Stopped, match="its runner was cancelled"):
            await runner.run_sync(blocked.stuck)

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
                while not blocked.token.is_set():
                    await anyio.lowlevel.checkpoint()
            blocked.released.set()

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(hold, scope)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(await_outside)
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        scope.cancel()


# rule 9
@pytest.mark.parametrize("way", ["safe_point", "is_set", "wait", "on_stop"])
async def test_leaving_on_an_error_waits_for_a_call_that_met_a_safe_point(
    held_call: type[HeldCall], way: str
) -> None:
    blocked = held_call()

    def cooperate() -> None:
        match way:
            case "safe_point":
                safe_point()
            case "is_set":
                stop_token().is_set()
            case "wait":
                stop_token().wait(0)
            case _:
                with stop_token().on_stop(blocked.released.set):
                    blocked.stuck()
                return
        blocked.enter()
        assert stop_token().wait(PATIENCE)
        blocked.left.set()

    runner = Runner(grace=PATIENCE)
    with pytest.RaisesGroup(LookupError):
        async with runner:
            runner.submit(cooperate)
            await blocked.inside.wait()
            raise LookupError
    assert blocked.left.is_set()
    assert runner.calls() == []


# rules 9 and 10
async def test_leaving_on_an_error_reports_and_does_not_wait_for_a_call_that_met_none(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    runner = Runner(grace=PATIENCE, name="ingest")
    with pytest.RaisesGroup(LookupError):
        async with runner:
            runner.submit(blocked.stuck, name="page 7")
            await blocked.at_rest(runner)
            raise LookupError
    assert not blocked.left.is_set()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    message = record.getMessage()
    assert message.startswith("<Runner 'ingest'>: left running: page 7 (")
    assert "HeldCall.stuck), 0." in message
    assert f"at {__file__.replace('runner/test_runner', 'conftest')}:" in message
    assert [info.name for info in runner.calls()] == ["page 7"]
    blocked.released.set()


# rule 9
async def test_the_grace_is_bounded(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()

    def look_once() -> None:
        safe_point()
        blocked.stuck()

    with pytest.RaisesGroup(LookupError):
        async with Runner(grace=0.01) as runner:
            runner.submit(look_once)
            await blocked.inside.wait()
            raise LookupError
    assert not blocked.left.is_set()
    assert len(caplog.records) == 1


# rule 9
async def test_leaving_normally_does_not_wait_for_an_abandoned_call_that_met_no_safe_point(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(grace=PATIENCE) as runner:
        handle = runner.submit(blocked.stuck)
        await blocked.inside.wait()
        handle.cancel()
    assert not blocked.left.is_set()
    assert len(caplog.records) == 1


# rule 10
async def test_many_leftovers_are_summed_up(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call() for _ in range(12)]
    with pytest.RaisesGroup(LookupError):
        async with Runner() as runner:
            for blocked in made:
                runner.submit(blocked.stuck)
            await made[0].at_rest(runner, len(made))
            raise LookupError
    (record,) = caplog.records
    assert "left running: 12 x " in record.getMessage()


async def test_calls_tells_what_is_running(held_call: type[HeldCall]) -> None:
    before = time.monotonic()
    blocked, other = held_call(), held_call()
    async with Runner() as runner, Runner() as neighbour:
        assert runner.calls() == []
        runner.submit(blocked.stuck, name="first")
        await blocked.at_rest(runner)
        neighbour.submit(other.stuck)
        await other.inside.wait()
        (info,) = runner.calls()
        assert info.name == "first"
        assert info.function.endswith("HeldCall.stuck")
        assert 0 <= info.age <= time.monotonic() - before
        assert info.where is not None
        assert "conftest.py:" in info.where
        assert not info.stopping
        blocked.released.set()
        other.released.set()


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
async def test_a_task_that_a_call_starts_does_not_get_its_token(held_call: type[HeldCall]) -> None:
    blocked, seen = held_call(), list[bool]()

    async def later() -> None:
        await blocked.inside.wait()
        seen.append(stop_token().is_set())

    async with Runner() as runner:

        def start_it() -> None:
            anyio.from_thread.run_sync(runner.start_soon, later)
            blocked.stuck()

        handle = runner.submit(start_it)
        await blocked.inside.wait()
        handle.cancel()
        await handle.wait()
        blocked.released.set()
    assert seen == [False]
