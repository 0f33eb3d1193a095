"""How a runner ends: stopped, by errors, by an interrupt: rules 9 and 12."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

import asyncrun
from asyncrun import Runner, Stopped, safe_point, stop_token

if TYPE_CHECKING:
    from types import TracebackType

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio
PATIENCE = 30.0


async def test_stop_ends_the_block_without_an_error(held_call: type[HeldCall]) -> None:
    blocked = held_call()
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(blocked.cooperative)
        await blocked.inside.wait()
        runner.stop("enough")
        await anyio.sleep_forever()
    assert blocked.left.is_set()
    assert blocked.token.reason == "enough"


async def test_stop_works_from_any_thread(held_call: type[HeldCall]) -> None:
    blocked = held_call()
    async with Runner() as runner:
        runner.submit(blocked.cooperative)
        await blocked.inside.wait()
        await asyncrun.run_sync(runner.stop, "from a thread")
        await anyio.sleep_forever()
    assert blocked.token.reason == "from a thread"


async def test_stop_ends_the_wait_of_a_task_outside_with_stopped(held_call: type[HeldCall]) -> None:
    blocked = held_call()
    runner = Runner()

    async def outside() -> None:
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(blocked.stuck)
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(str)
        blocked.released.set()

    async with anyio.create_task_group() as group, runner:
        group.start_soon(outside)
        await blocked.inside.wait()
        runner.stop("enough")
        with anyio.CancelScope(shield=True):
            await asyncrun.run_sync(blocked.left.wait)


async def test_a_task_that_meets_a_stop_before_its_cancellation_gets_no_stopped() -> None:
    async with Runner() as runner:
        runner._group._source.stop()  # what a stop in another thread does while this task runs
        await runner.run_sync(str)
        pytest.fail("the block went on")
    async with Runner() as runner:
        runner._group._source.stop()
        runner.submit(str)
        await runner.run_sync(str)


async def test_a_shielded_wait_of_an_own_task_is_not_cut_short_and_leaves_no_error(
    held_call: type[HeldCall],
) -> None:
    blocked, results = held_call(), list[str]()

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            results.append(await runner.run_sync(blocked.stuck))

    async def open_it(runner: Runner) -> None:
        while not stopped.token.is_set():
            await anyio.lowlevel.checkpoint()
        blocked.released.set()

    stopped = asyncrun.StopSource()
    async with anyio.create_task_group() as group:
        group.start_soon(open_it, runner := Runner())
        async with runner:
            runner.start_soon(critical, runner)
            await blocked.inside.wait()
            runner.stop()
            stopped.stop()
            await anyio.sleep_forever()
    assert results == ["late"]


@pytest.mark.parametrize("place", ["task", "block"])
async def test_a_shielded_call_that_stops_ends_its_task_by_the_cancellation(
    held_call: type[HeldCall], place: str
) -> None:
    blocked = held_call()

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            await runner.run_sync(blocked.cooperative)

    async def stop(runner: Runner) -> None:
        await blocked.inside.wait()
        runner.stop()

    handles: list[anyio.TaskHandle[None]] = []
    async with Runner() as runner:
        runner.start_soon(stop, runner)
        if place == "block":
            await critical(runner)
        handles.append(runner.start_soon(critical, runner))
    statuses = [handle.status for handle in handles]
    assert statuses == ([anyio.TaskHandle.Status.CANCELLED] if place == "task" else [])


async def test_stopped_that_no_stop_of_the_runner_explains_is_an_error() -> None:
    def stop_myself() -> None:
        raise Stopped("my own reason")

    with pytest.RaisesGroup(Stopped):
        async with Runner() as runner:
            runner.submit(stop_myself)
    with pytest.RaisesGroup(Stopped):
        async with Runner() as runner:
            await runner.run_sync(stop_myself)


# rule 12
async def test_an_interrupt_leaves_no_reference_cycle() -> None:
    class Interrupt(KeyboardInterrupt):
        pass

    async def interrupt(errors: list[Interrupt]) -> None:
        async with Runner():
            raise errors.pop()

    gc.disable()
    try:
        errors = [Interrupt()]
        reference = weakref.ref(errors[0])
        with contextlib.suppress(Interrupt):
            await interrupt(errors)
        await anyio.lowlevel.checkpoint()
        assert reference() is None
    finally:
        gc.enable()


async def test_an_interrupt_in_an_on_stop_callback_leaves_the_group_in_order(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()

    def interrupt() -> None:
        raise KeyboardInterrupt

    def hold() -> None:
        with stop_token().on_stop(interrupt):
            blocked.stuck()

    with pytest.raises(KeyboardInterrupt) as caught:
        async with Runner(grace=0) as runner:
            runner.submit(hold)
            await blocked.inside.wait()
            raise LookupError
    assert isinstance(caught.value.__context__, LookupError) or caught.value.__cause__
    async with Runner() as runner:  # Trio would tell that its stack is corrupt
        assert await runner.run_sync(str, 1) == "1"


async def test_a_cancellation_in_the_grace_does_not_lose_the_report(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        return  # under Trio nothing gets through a shield
    blocked = held_call()

    def look_once() -> None:
        safe_point()
        blocked.stuck()

    async def hold() -> None:
        async with Runner(grace=PATIENCE) as runner:
            runner.submit(look_once)
            await anyio.sleep_forever()

    task = asyncio.ensure_future(hold())
    await blocked.inside.wait()
    task.cancel()
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(caplog.records) == 1


async def test_stopping_twice_and_after_the_end_is_harmless() -> None:
    async with Runner() as runner:
        runner.stop("first")
        runner.stop("second")
    runner.stop("third")


# rule 12
async def test_errors_come_in_a_group_as_anyio_gives_them() -> None:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise LookupError("from a task")

    def fail_too() -> None:
        raise ValueError("from a call")

    with pytest.raises(ExceptionGroup) as caught:
        async with Runner() as runner:
            runner.start_soon(fail)
            await anyio.wait_all_tasks_blocked()
    assert [str(error) for error in caught.value.exceptions] == ["from a task"]
    with pytest.raises(ExceptionGroup) as caught:
        async with Runner() as runner:
            runner.submit(fail_too)
    assert [str(error) for error in caught.value.exceptions] == ["from a call"]


# rule 12
async def test_an_error_of_the_block_comes_out_as_anyio_gives_it() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Runner():
            raise LookupError
    assert [type(error) for error in caught.value.exceptions] == [LookupError]


async def test_a_cancellation_that_the_group_leaves_to_its_caller_is_raised() -> None:
    class Group:
        """A task group that reports "not swallowed" where AnyIO's raise themselves."""

        def __init__(self, group: anyio.abc.TaskGroup) -> None:
            self.group = group
            self.cancel_scope = group.cancel_scope

        async def __aexit__(
            self,
            exc_type: type[BaseException] | None,
            exc: BaseException | None,
            traceback: TracebackType | None,
        ) -> bool:
            with contextlib.suppress(anyio.get_cancelled_exc_class()):
                await self.group.__aexit__(exc_type, exc, traceback)
            return False

    left = False
    with anyio.CancelScope() as scope:
        async with Runner() as runner:
            runner.start_soon(anyio.sleep_forever)
            runner._group._task_group = Group(runner._group._task_group)  # type: ignore[assignment]
            scope.cancel()
        left = True
    assert scope.cancelled_caught
    assert not left


# rule 12
async def test_a_keyboard_interrupt_comes_out_as_itself_and_other_errors_are_its_cause() -> None:
    async def fail() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise LookupError

    with pytest.raises(KeyboardInterrupt) as caught:
        async with Runner() as runner:
            runner.start_soon(fail)
            await anyio.wait_all_tasks_blocked()
            raise KeyboardInterrupt
    assert pytest.RaisesGroup(LookupError).matches(caught.value.__cause__)


# rule 9
async def test_a_call_that_its_callback_has_woken_is_waited_for_after_the_block_too(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, woken = held_call(), threading.Event()

    def call() -> None:
        with asyncrun.stop_token().on_stop(woken.set):
            blocked.enter()
            assert woken.wait(PATIENCE)
        assert blocked.released.wait(PATIENCE)  # it cleans up

    async with asyncrun.Runner() as runner:
        runner.submit(call)
        await blocked.inside.wait()
        (begun,) = runner._group.running_calls()
        runner.stop()
        with anyio.CancelScope(shield=True):
            while begun.token._callbacks or not woken.is_set():
                await anyio.lowlevel.checkpoint()
        assert begun.is_cooperative()
        blocked.released.set()
    assert not runner.calls()
    assert not caplog.records
