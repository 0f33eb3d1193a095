"""Leaving a runner's block normally, with a limit to the wait: rule 9."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import asyncrun
from asyncrun import Runner, Stopped, stop_token
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, told, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import HeldCall
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio
SHORT = 0.02


# rule 9
@pytest.mark.parametrize("seconds", [0, SHORT])
async def test_what_runs_longer_is_stopped_without_an_error(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    heeding, stuck = held_call(), held_call()
    handles: list[anyio.TaskHandle[Any]] = []
    begin = time.monotonic()
    async with Runner(grace=PATIENCE, drain_timeout=seconds) as runner:
        handles += [
            runner.submit(heeding.cooperative),
            runner.submit(stuck.stuck),
            runner.start_soon(anyio.sleep_forever),
        ]
        await heeding.inside.wait()
        await stuck.inside.wait()
    assert time.monotonic() - begin < PATIENCE
    assert heeding.left.is_set()
    reason = f"its runner has waited {seconds:g} s for it to end"
    assert heeding.token.reason == stuck.token.reason == reason
    for handle in handles:
        with pytest.raises(anyio.TaskCancelled):
            await handle
    stuck.released.set()
    (record,) = caplog.records  # rule 10
    assert record.levelno == logging.WARNING
    assert "left running: HeldCall.stuck" in record.getMessage()


@pytest.mark.parametrize("seconds", [None, PATIENCE, math.inf])
async def test_what_ends_in_time_is_waited_for(
    held_call: type[HeldCall], seconds: float | None
) -> None:
    blocked = held_call()

    async def open_it() -> None:
        await anyio.wait_all_tasks_blocked()
        blocked.released.set()

    handles: list[anyio.TaskHandle[str]] = []
    async with Runner(drain_timeout=seconds) as runner:
        handles.append(runner.submit(blocked.stuck))
        await blocked.inside.wait()
        runner.start_soon(open_it)
    assert await handles[0] == "late"
    assert not blocked.token.is_set()


async def test_without_anything_to_wait_for_nothing_is_stopped() -> None:
    async with Runner(drain_timeout=0) as runner:
        assert await runner.run_sync(str, 1) == "1"
    assert not runner._group.token.is_set()


async def test_a_wait_of_a_task_outside_ends_with_stopped(held_call: type[HeldCall]) -> None:
    blocked, runner = held_call(), Runner(drain_timeout=SHORT)

    async def outside() -> None:
        with (
            anyio.CancelScope(shield=True),
            pytest.raises(Stopped, match=r"asked to stop: its runner has waited 0\.02 s"),
        ):
            await runner.run_sync(blocked.stuck)
        blocked.released.set()

    async with anyio.create_task_group() as group, runner:
        group.start_soon(outside)
        await blocked.inside.wait()


@pytest.mark.parametrize("is_own", [True, False])
async def test_a_map_that_is_open_in_a_task_ends(held_call: type[HeldCall], is_own: bool) -> None:
    blocked, runner = held_call(), Runner(drain_timeout=SHORT, grace=PATIENCE)
    ends = list[BaseException]()

    async def read() -> None:
        try:
            async with runner.map(heed, [blocked] * 3) as results:
                async for _ in results:
                    pytest.fail("there is no result")
        except Stopped as exc:
            ends.append(exc)
        except anyio.get_cancelled_exc_class() as exc:
            ends.append(exc)
            raise

    async with anyio.create_task_group() as group, runner:
        (runner if is_own else group).start_soon(read)
        await blocked.inside.wait()
    (end,) = ends
    assert isinstance(end, anyio.get_cancelled_exc_class() if is_own else Stopped)
    assert blocked.left.is_set()


def heed(held_thread_call: HeldCall) -> None:
    held_thread_call.cooperative()


@pytest.mark.parametrize("way", ["cooperative", "stuck"])
async def test_a_call_in_a_process_ends(
    held_process_call: Callable[[], HeldProcessCall], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    place, pids = held_process_call(), list[int]()
    async with Runner(drain_timeout=SHORT, grace=PATIENCE) as runner:
        runner.submit(getattr(jobs, way), place.path, worker="process")
        pids.append(int(await told(place)))
    assert place.has("left") == (way == "cooperative")
    assert not jobs.is_alive(*pids)
    assert caplog.records == []


async def test_a_task_that_has_shielded_itself_is_waited_for(held_call: type[HeldCall]) -> None:
    blocked, order = held_call(), list[str]()

    async def shielded(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            order.append(await runner.run_sync(blocked.stuck))
            order.append(await runner.run_sync(str, "clean-up"))
        await anyio.lowlevel.checkpoint()
        order.append("not reached")

    async def open_it() -> None:
        await until(blocked.token.is_set)
        blocked.released.set()

    async with anyio.create_task_group() as group, Runner(drain_timeout=SHORT) as runner:
        runner.start_soon(shielded, runner)
        await blocked.inside.wait()
        group.start_soon(open_it)
    assert order == ["late", "clean-up"]


async def test_an_error_of_a_task_while_the_runner_drains_comes_out(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()

    async def fail() -> None:
        await anyio.wait_all_tasks_blocked()
        raise LookupError("no such thing")

    with pytest.RaisesGroup(LookupError):
        async with Runner(drain_timeout=PATIENCE) as runner:
            runner.submit(blocked.cooperative)
            await blocked.inside.wait()
            runner.start_soon(fail)
    assert blocked.token.reason == "its runner failed with LookupError"


@pytest.mark.parametrize("is_native", [True, False])
async def test_a_cancellation_while_the_runner_drains_is_not_swallowed(
    held_call: type[HeldCall], is_native: bool, anyio_backend_name: str
) -> None:
    blocked = held_call()

    async def block() -> None:
        async with Runner(drain_timeout=PATIENCE) as runner:
            runner.submit(blocked.cooperative)
            await blocked.inside.wait()
        pytest.fail("it was swallowed")

    if is_native and anyio_backend_name == "asyncio":
        task = asyncio.create_task(block())
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(block)
                await blocked.inside.wait()
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
    # Whether its own task or the runner's comes first is the event loop's affair.
    assert blocked.token.reason in ("its caller was cancelled", "its runner was cancelled")


async def test_a_callback_that_starts_more_while_the_runner_stops_is_cancelled_too(
    held_call: type[HeldCall],
) -> None:
    blocked, handles = held_call(), list[anyio.TaskHandle[None]]()

    async with Runner(drain_timeout=SHORT, grace=PATIENCE) as runner:

        def call() -> None:
            again = lambda: handles.append(runner.start_soon(anyio.sleep_forever))  # noqa: E731
            with stop_token().on_stop(again):
                blocked.cooperative()

        runner.submit(call)
        await blocked.inside.wait()
    with pytest.raises(anyio.TaskCancelled):
        await handles[0]


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan])
def test_a_drain_timeout_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"drain_timeout must be >= 0 seconds, was {seconds}"):
        Runner(drain_timeout=seconds)


def test_under_run_nothing_of_it_is_seen(backend: str) -> None:
    async def main() -> str:
        async with Runner(drain_timeout=0) as runner:
            runner.start_soon(anyio.sleep_forever)
        return "done"

    name = "trio" if backend == "trio" else "asyncio"
    assert asyncrun.run(main, backend=name) == "done"
