"""The Runner: leaving, stopping, errors and reports: DESIGN.md's rules 9, 10 and 12."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import asyncrun
from asyncrun import Runner, Stopped, safe_point, stop_token

if TYPE_CHECKING:
    from types import TracebackType

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
    assert f"at {__file__.replace('test_runner', 'conftest')}:" in message
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


async def test_stop_ends_the_block_without_an_error(gate: type[Gate]) -> None:
    door = gate()
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(door.heeding)
        await door.inside.wait()
        runner.stop("enough")
        await anyio.sleep_forever()
    assert door.left.is_set()
    assert door.token.reason == "enough"


async def test_stop_works_from_any_thread(gate: type[Gate]) -> None:
    door = gate()
    async with Runner() as runner:
        runner.submit(door.heeding)
        await door.inside.wait()
        await asyncrun.run_sync(runner.stop, "from a thread")
        await anyio.sleep_forever()
    assert door.token.reason == "from a thread"


async def test_stop_ends_the_wait_of_a_task_outside_with_stopped(gate: type[Gate]) -> None:
    door = gate()
    runner = Runner()

    async def outside() -> None:
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(door.stuck)
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(str)
        door.opened.set()

    async with anyio.create_task_group() as group, runner:
        group.start_soon(outside)
        await door.inside.wait()
        runner.stop("enough")
        with anyio.CancelScope(shield=True):
            await asyncrun.run_sync(door.left.wait)


async def test_a_task_that_meets_a_stop_before_its_cancellation_gets_no_stopped() -> None:
    async with Runner() as runner:
        runner._source.stop()  # what a stop in another thread does while this task runs
        await runner.run_sync(str)
        pytest.fail("the block went on")
    async with Runner() as runner:
        runner._source.stop()
        runner.submit(str)
        await runner.run_sync(str)


async def test_a_shielded_wait_of_an_own_task_is_not_cut_short_and_leaves_no_error(
    gate: type[Gate],
) -> None:
    door, results = gate(), list[str]()

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            results.append(await runner.run_sync(door.stuck))

    async def open_it(runner: Runner) -> None:
        while not stopped.token.is_set():
            await anyio.lowlevel.checkpoint()
        door.opened.set()

    stopped = asyncrun.StopSource()
    async with anyio.create_task_group() as group:
        group.start_soon(open_it, runner := Runner())
        async with runner:
            runner.start_soon(critical, runner)
            await door.inside.wait()
            runner.stop()
            stopped.stop()
            await anyio.sleep_forever()
    assert results == ["late"]


@pytest.mark.parametrize("place", ["task", "block"])
async def test_a_shielded_call_that_stops_ends_its_task_by_the_cancellation(
    gate: type[Gate], place: str
) -> None:
    door = gate()

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            await runner.run_sync(door.heeding)

    async def stop(runner: Runner) -> None:
        await door.inside.wait()
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
    gate: type[Gate],
) -> None:
    door = gate()

    def interrupt() -> None:
        raise KeyboardInterrupt

    def hold() -> None:
        with stop_token().on_stop(interrupt):
            door.stuck()

    with pytest.raises(KeyboardInterrupt) as caught:
        async with Runner(grace=0) as runner:
            runner.submit(hold)
            await door.inside.wait()
            raise LookupError
    assert isinstance(caught.value.__context__, LookupError) or caught.value.__cause__
    async with Runner() as runner:  # Trio would tell that its stack is corrupt
        assert await runner.run_sync(str, 1) == "1"


async def test_a_cancellation_in_the_grace_does_not_lose_the_report(
    gate: type[Gate], caplog: pytest.LogCaptureFixture
) -> None:
    if anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        return  # under Trio nothing gets through a shield
    door = gate()

    def look_once() -> None:
        safe_point()
        door.stuck()

    async def hold() -> None:
        async with Runner(grace=PATIENCE) as runner:
            runner.submit(look_once)
            await anyio.sleep_forever()

    task = asyncio.ensure_future(hold())
    await door.inside.wait()
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
            runner._group = Group(runner._group)  # type: ignore[assignment]
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


async def test_a_runner_that_is_not_entered_is_refused() -> None:
    runner = Runner()
    with pytest.raises(RuntimeError, match="<Runner> is not entered yet; use it as `async with"):
        await runner.run_sync(str)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.submit(str)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.start_soon(anyio.sleep, 1)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.stop()
    assert runner.calls() == []


async def test_a_runner_that_was_left_is_refused() -> None:
    async with Runner(name="old") as runner:
        pass
    with pytest.raises(RuntimeError, match="<Runner 'old'> was left already; make a new one"):
        await runner.run_sync(str)
    with pytest.raises(RuntimeError, match="was left already"):
        runner.submit(str)
    with pytest.raises(RuntimeError, match="was left already"):
        runner.start_soon(anyio.sleep, 1)
    with pytest.raises(RuntimeError, match="was left already"):
        async with runner:
            pass


async def test_entering_twice_is_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(RuntimeError, match="is entered already; a runner can be entered once"):
            async with runner:
                pass
        assert await runner.run_sync(str, 1) == "1"


async def test_what_is_no_async_function_is_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"wants an async function.*it returned '', not a cor"):
            runner.start_soon(str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"give the function and its arguments, without call"):
            runner.start_soon(anyio.lowlevel.checkpoint())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"wants an async function, got 3"):
            runner.start_soon(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_submit_refuses_a_coroutine_function_at_the_call() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"Runner.submit\(\) wants a blocking function"):
            runner.submit(anyio.sleep, 1)


async def test_submit_refuses_a_call_that_was_made_already() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"give the function and its arguments, without call"):
            runner.submit(anyio.lowlevel.checkpoint())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_another_thread_is_refused_and_told_how_to_come_back() -> None:
    async with Runner() as runner:
        with pytest.raises(RuntimeError, match=r"go through anyio.from_thread.run_sync\(runner.s"):
            await runner.run_sync(lambda: runner.submit(str))
        with pytest.raises(RuntimeError, match=r"belongs to the thread of its event loop"):
            await runner.run_sync(lambda: runner.start_soon(anyio.sleep, 0))

        def submit() -> anyio.TaskHandle[str]:
            return anyio.from_thread.run_sync(runner.submit, str, 1)

        assert await (await runner.run_sync(submit)) == "1"


async def test_other_workers_are_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(ValueError, match="must be 'thread', was 'process': worker processes"):
            runner.submit(str, worker="process")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="must be 'thread', was 'moon'"):
            await runner.run_sync(str, worker="moon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("grace", [-1, -0.001, float("nan"), float("-inf")])
def test_a_grace_out_of_range_is_refused(grace: float) -> None:
    with pytest.raises(ValueError, match=f"grace must be >= 0 seconds, was {grace}"):
        Runner(grace=grace)


@pytest.mark.parametrize("threads", [0, -1, 2.5, float("nan")])
def test_a_number_of_threads_out_of_range_is_refused(threads: Any) -> None:
    with pytest.raises(
        ValueError, match=f"max_threads must be a whole number >= 1 or None, was {threads}"
    ):
        Runner(max_threads=threads)
