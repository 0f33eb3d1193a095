"""How a runner ends, whatever its workers: rules 9, 10, 12 and 18."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncrun
from asyncrun import Runner, Stopped
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_stop_from_any_thread_ends_the_block_without_an_error(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], elsewhere: bool
) -> None:
    place = held_process_call()
    runner = Runner(grace=PATIENCE)
    async with runner:
        if elsewhere:
            await runner.run_sync(abs, -1, worker=worker)
        runner.submit(jobs.cooperative, place.path, worker=worker)
        await told(place)
        if elsewhere:
            await asyncrun.run_sync(runner.stop, "enough")
        else:
            runner.stop("enough")
        await anyio.sleep_forever()
    assert place.read("left") == "<StopToken set: enough>"
    assert runner.calls() == []


@pytest.mark.parametrize("reason", [None, "größer " * 1000])
async def test_the_reason_arrives_whatever_it_is(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], reason: str | None
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(jobs.cooperative, place.path, worker=worker)
        await told(place)
        runner.stop(reason)
    left = place.read("left")
    wanted = "<StopToken set>" if reason is None else f"<StopToken set: {reason}>"
    if worker != "process":
        assert left == wanted
    else:  # 4 KiB of it
        assert left.removesuffix(">").rstrip("\N{REPLACEMENT CHARACTER}") in wanted
        assert len(left) >= min(len(wanted), 3000)


async def test_stop_ends_the_wait_of_a_task_outside_with_stopped(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    runner = Runner(grace=PATIENCE)

    async def outside() -> None:
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(jobs.linger, place.path, worker=worker)
        assert not place.has("left")
        with pytest.raises(Stopped, match="asked to stop: enough"):
            await runner.run_sync(str, 1, worker=worker)
        place.release()

    async with anyio.create_task_group() as group, runner:
        group.start_soon(outside)
        await told(place)
        runner.stop("enough")
        with anyio.CancelScope(shield=True):
            await told(place, "left")


# rule 9
async def test_leaving_waits_for_calls_and_for_those_that_tasks_outside_await(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    inner, outer = held_process_call(), held_process_call()
    results: list[str] = []
    handles: list[anyio.TaskHandle[str]] = []
    runner = Runner(max_processes=2)

    async def outside() -> None:
        results.append(await runner.run_sync(jobs.stuck, outer.path, worker=worker))

    async def open_both() -> None:
        await anyio.wait_all_tasks_blocked()
        assert runner.calls()
        inner.release()
        await told(inner, "left")
        await anyio.wait_all_tasks_blocked()
        outer.release()

    async with anyio.create_task_group() as group:
        async with runner:
            group.start_soon(outside)
            handles.append(runner.submit(jobs.stuck, inner.path, worker=worker))
            await told(inner)
            await told(outer)
            group.start_soon(open_both)
        assert [await handles[0], *results] == ["late", "late"]


async def _fail_when_inside(runner: Runner, place: HeldProcessCall) -> None:
    await told(place)
    raise LookupError


# rules 9 and 18
@pytest.mark.parametrize("cooperate", ["safe_point", "on_stop"])
async def test_leaving_on_an_error_waits_for_a_call_that_met_a_safe_point(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
    cooperate: str,
) -> None:
    place = held_process_call()
    runner = Runner(grace=PATIENCE)
    with pytest.RaisesGroup(LookupError):
        async with runner:
            runner.submit(jobs.cooperative_by, (cooperate, place.path), worker=worker)
            await _fail_when_inside(runner, place)
    assert place.read("left") == "<StopToken set: its runner failed with LookupError>"
    assert runner.calls() == []
    assert caplog.records == []


# rules 9, 10 and 18
async def test_leaving_on_an_error_does_not_wait_for_a_call_that_met_none(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    runner = Runner(grace=PATIENCE)
    with pytest.RaisesGroup(LookupError):
        async with runner:
            if worker == "process":
                await runner.run_sync(abs, -1, worker=worker)
            runner.submit(jobs.stuck, place.path, worker=worker, name="page 7")
            await _fail_when_inside(runner, place)
    assert not place.has("left")
    if worker != "process":
        assert "<Runner>: left running: page 7 (stuck), " in caplog.text
    else:
        assert not jobs.is_alive(int(place.read("inside")))
        assert caplog.records == []
        assert runner.calls() == []


# rules 9 and 18
@pytest.mark.parametrize("how", ["error", "handle"])
async def test_the_grace_is_bounded(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    place = held_process_call()
    runner = Runner(grace=0.05)
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with runner:
                handle = runner.submit(jobs.look_once, place.path, worker=worker)
                await told(place)
                if how == "handle":
                    handle.cancel()
                else:
                    scope.cancel()
                    await anyio.sleep_forever()
        group.cancel_scope.cancel()
    assert not place.has("left")
    if worker != "process":
        assert len(caplog.records) == 1
    else:
        assert not jobs.is_alive(int(place.read("inside")))
        assert caplog.records == []
        assert runner.calls() == []


# rule 9
async def test_a_call_that_its_callback_has_woken_is_waited_for_after_the_block_too(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(jobs.woken_and_linger, place.path, worker=worker)
        await told(place)
        runner.stop()
        with anyio.CancelScope(shield=True):
            await told(place, "awake")
            place.release()
    assert place.has("left")
    assert not runner.calls()
    assert not caplog.records


# rule 9
@pytest.mark.parametrize("leaving", [False, True])
async def test_a_cancellation_from_outside_sets_every_token(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], leaving: bool
) -> None:
    inner, outer = held_process_call(), held_process_call()
    runner = Runner(grace=PATIENCE, max_processes=2)

    async def await_outside() -> None:
        with pytest.raises(Stopped, match="its runner was cancelled"):
            await runner.run_sync(jobs.cooperative, outer.path, worker=worker)

    async def hold(scope: anyio.CancelScope) -> None:
        with scope:
            async with runner:
                runner.submit(jobs.cooperative, inner.path, worker=worker)
                if not leaving:
                    await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()
        group.start_soon(hold, scope)
        await told(inner)
        group.start_soon(await_outside)
        await told(outer)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
    assert outer.read("left") == "<StopToken set: its runner was cancelled>"
    assert inner.read("left").startswith("<StopToken set: its ")


# rule 12
async def test_errors_come_in_a_group_as_anyio_gives_them(worker: AnyWorker) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with Runner() as runner:
            runner.submit(jobs.fail, "from a call", worker=worker)
    assert [repr(error) for error in caught.value.exceptions] == ["LookupError('from a call')"]
    with pytest.RaisesGroup(Stopped):
        async with Runner() as runner:
            runner.submit(jobs.stop_myself, "my own reason", worker=worker)
    with pytest.RaisesGroup(Stopped):
        async with Runner() as runner:
            await runner.run_sync(jobs.stop_myself, "my own reason", worker=worker)


# rule 12
async def test_an_error_survives_a_cancellation_that_comes_with_it(worker: AnyWorker) -> None:
    with pytest.RaisesGroup(ValueError), anyio.CancelScope() as scope:
        async with Runner() as runner:
            await runner.run_sync(str, 1, worker=worker)  # there is a worker to close
            scope.cancel()
            raise ValueError


# rule 12
async def test_a_call_that_fails_cancels_its_siblings(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place, failing = held_process_call(), held_process_call()
    with pytest.RaisesGroup(LookupError):
        async with Runner(grace=PATIENCE, max_processes=2) as runner:
            runner.submit(jobs.cooperative, place.path, worker=worker)
            runner.submit(jobs.fail_or_cooperate, ("fail", failing.path), worker=worker)
            await told(place)
            await told(failing)
            failing.release()
            await anyio.sleep_forever()
    assert place.read("left") == "<StopToken set: its runner failed with LookupError>"


# rule 12
async def test_a_keyboard_interrupt_comes_out_as_itself(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    with pytest.raises(KeyboardInterrupt):
        async with Runner(grace=PATIENCE) as runner:
            runner.submit(jobs.cooperative, place.path, worker=worker)
            await told(place)
            raise KeyboardInterrupt
    assert place.read("left") == "<StopToken set: its runner failed with KeyboardInterrupt>"


@pytest.mark.parametrize("job", ["linger", "cooperative"])
async def test_a_shielded_wait_of_an_own_task_lasts_until_the_call_has_ended(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], job: str
) -> None:
    place = held_process_call()
    results: list[Any] = []
    handles: list[anyio.TaskHandle[None]] = []

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            results.append(await runner.run_sync(getattr(jobs, job), place.path, worker=worker))

    async def open_it() -> None:
        await told(place, "noticed" if job == "linger" else "left")
        assert results == []
        place.release()

    async with anyio.create_task_group() as group, Runner(grace=PATIENCE) as runner:
        handles.append(runner.start_soon(critical, runner))
        await told(place)
        group.start_soon(open_it)
        runner.stop()
    assert results == (["late"] if job == "linger" else [])
    assert [handle.status.name for handle in handles] == [
        "FINISHED" if job == "linger" else "CANCELLED"
    ]


@pytest.mark.parametrize("job", ["linger", "cooperative"])
async def test_leaving_normally_waits_for_an_abandoned_call_that_met_a_safe_point(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], job: str
) -> None:
    place = held_process_call()

    async def open_it() -> None:
        await told(place, "noticed")
        place.release()

    runner = Runner(grace=PATIENCE)
    async with anyio.create_task_group() as group:
        async with runner:
            handle = runner.submit(getattr(jobs, job), place.path, worker=worker)
            await told(place)
            handle.cancel()
            if job == "linger":
                group.start_soon(open_it)
        assert place.has("left")
    assert runner.calls() == []


async def test_stop_before_anything_runs_and_twice_is_harmless(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(jobs.cooperative, place.path, worker=worker)
        runner.stop("first")
        runner.stop("second")
    runner.stop("third")
    async with Runner(grace=PATIENCE) as runner:
        runner.submit(jobs.cooperative, place.path, worker=worker)
        await anyio.wait_all_tasks_blocked()
        runner.stop()  # at any moment: a process may be about to start
    await brought(lambda: not runner.calls())
