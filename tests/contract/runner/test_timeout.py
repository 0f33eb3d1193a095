"""`timeout=` of a single call: from when it begins to run, in a thread or a process."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncrun
from asyncrun import CallTimeoutError, ProcessWorkers, Runner
from asyncrun._core.call import Call
from asyncrun._workers import call_timeout
from asyncrun._workers.call_timeout import _Clock
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, runner_of, told, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import AnyWorker, HeldCall
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio
SHORT = 0.05


@pytest.fixture(params=["cold", "warm"])
def is_warm(request: pytest.FixtureRequest) -> bool:
    """Whether a process runs already: then the event loop sends it the call itself."""
    return bool(request.param == "warm")


async def warm_up(runner: Runner, worker: AnyWorker, *, is_warm: bool) -> None:
    if is_warm:
        await runner.run_sync(jobs.look, worker=worker)


# rule 5
async def test_a_call_that_takes_too_long_is_asked_to_stop_and_the_await_ends(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    is_warm: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1, grace=PATIENCE) as runner:
        await warm_up(runner, worker, is_warm=is_warm)
        begin = time.monotonic()
        with pytest.raises(CallTimeoutError) as caught:
            await runner.run_sync(jobs.cooperative, place.path, worker=worker, timeout=SHORT)
        assert SHORT <= time.monotonic() - begin < PATIENCE
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.name, caught.value.seconds) == ("cooperative", SHORT)
        assert str(caught.value) == "cooperative took longer than 0.05 s"
        assert caught.value.__context__ is None
        # It ends before the slot is free for the next one.
        assert await runner.run_sync(jobs.look, worker=worker) == ("<StopToken not set>", False)
        assert not place.has("inside") or "set: it took longer than 0.05 s" in place.read("left")
    assert caplog.records == []


# rule 18
async def test_a_process_is_killed_and_a_thread_is_abandoned(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    is_warm: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1) as runner:
        await warm_up(runner, worker, is_warm=is_warm)
        with pytest.raises(CallTimeoutError):
            await runner.run_sync(jobs.stuck, place.path, worker=worker, timeout=1)
        if worker == "process":
            pid = int(await told(place))
            await brought(lambda: not jobs.is_alive(pid))
            assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
            assert not place.has("left")
        else:
            (info,) = runner.calls()
            assert info.stopping
            place.release()
            assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
            assert "it took longer than 1 s" in place.read("left")
    assert caplog.records == []


async def test_what_ends_in_time_is_the_result_or_the_error(worker: AnyWorker) -> None:
    async with Runner() as runner:
        for seconds in (PATIENCE, math.inf, None):
            run = partial(runner.run_sync, worker=worker, timeout=seconds)
            for _ in range(2):
                assert await run(jobs.square, 3) == 9
                with pytest.raises(LookupError, match="no such thing"):
                    await run(jobs.fail, "no such thing")
                with pytest.raises(TimeoutError, match="timed out") as caught:
                    await run(jobs.throw, TimeoutError("timed out"))
                assert not isinstance(caught.value, CallTimeoutError)
                with pytest.raises(jobs.Alone):
                    await run(jobs.throw, jobs.Alone())
            assert await runner.submit(jobs.square, 4, worker=worker, timeout=seconds) == 16
    assert await asyncrun.run_sync(jobs.square, 3, timeout=PATIENCE) == 9


async def test_without_a_runner_too(held_call: type[HeldCall]) -> None:
    blocked, slots = held_call(), anyio.CapacityLimiter(1)
    with pytest.raises(CallTimeoutError, match=r"^HeldCall\.cooperative took longer than 0\.05 s$"):
        await asyncrun.run_sync(blocked.cooperative, limiter=slots, timeout=SHORT)
    assert await asyncrun.run_sync(str, 1, limiter=slots) == "1"
    assert blocked.left.is_set() or not blocked.inside.is_set()


async def test_the_error_has_the_name_that_its_caller_gave(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()
    async with offloading() as call:
        with pytest.raises(CallTimeoutError, match=r"^page 7 took longer than 0\.05 s$"):
            await call(blocked.cooperative, timeout=SHORT, name="page 7")


async def test_the_clock_does_not_run_while_the_call_waits_for_a_slot(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1) as runner:
        first = runner.submit(jobs.stuck, place.path, worker=worker)
        await told(place)
        second = runner.submit(jobs.square, 3, worker=worker, timeout=SHORT)
        with anyio.move_on_after(3 * SHORT):
            await second.wait()
        assert second.status.name == "PENDING"
        place.release()
        assert await first == "late"
        await second.wait()


async def test_the_clock_does_not_run_while_a_process_is_started() -> None:
    seconds = 0.3
    # The initializer, too, belongs to the start.
    workers = ProcessWorkers(initializer=time.sleep, initargs=(2 * seconds,))
    async with Runner() as runner:
        run = partial(runner.run_sync, worker=workers, timeout=seconds)
        assert await run(jobs.square, 3) == 9


async def test_under_submit_it_is_an_error_of_the_task(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    handles: list[anyio.TaskHandle[None]] = []
    with pytest.RaisesGroup(pytest.RaisesExc(CallTimeoutError, match="mine took longer than")):
        async with Runner(grace=PATIENCE) as runner:
            options: Any = {"worker": worker, "timeout": SHORT, "name": "mine"}
            handles.append(runner.submit(jobs.cooperative, place.path, **options))
    with pytest.raises(anyio.TaskFailed):
        await handles[0]


# The loop is busy when the result comes, and when the time is over: the result came first.
@pytest.mark.parametrize("pickles", ["plain", "partial", "rich"])
async def test_a_result_that_came_in_time_wins(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    is_warm: bool,
    pickles: str,
) -> None:
    funcs: dict[str, Callable[[str, int], object]] = {
        "plain": jobs.square_after,
        "partial": partial(jobs.square_after),
        "rich": jobs.fraction_after,
    }
    place = held_process_call()
    async with runner_of(worker, 1) as runner:
        await warm_up(runner, worker, is_warm=is_warm)
        handle = runner.submit(funcs[pickles], place.path, 3, worker=worker, timeout=1)
        await told(place)
        time.sleep(1.5)  # noqa: ASYNC251
        assert await handle == 9
        assert await runner.run_sync(jobs.square, 4, worker=worker) == 16  # its slot is free


async def test_a_loop_that_was_busy_when_the_time_was_over_notices_it_later(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()
    async with Runner() as runner:

        async def be_busy() -> None:
            await blocked.inside.wait()
            time.sleep(4 * SHORT)  # noqa: ASYNC251

        runner.start_soon(be_busy)
        with pytest.raises(CallTimeoutError):
            await runner.run_sync(blocked.stuck, timeout=SHORT)
        blocked.released.set()


async def test_the_end_of_a_call_and_its_time_out_meet_in_one_claim(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()
    async with Runner() as runner:
        handle = runner.submit(blocked.stuck, timeout=PATIENCE)
        await blocked.inside.wait()
        (call,) = runner._group.running_calls()
        assert isinstance(call, Call)
        blocked.released.set()
        while not call._finished.locked():  # the loop does not turn
            time.sleep(0)  # noqa: ASYNC251
        assert not call.expire("too late")
        assert await handle == "late"


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_native_cancellation_at_the_same_time_is_not_swallowed(
    held_call: type[HeldCall],
    is_first: bool,
    anyio_backend_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocked, scopes = held_call(), list[anyio.CancelScope]()
    if anyio_backend_name != "asyncio":
        return

    ring = call_timeout._Clock._ring

    def ring_and_cancel(clock: call_timeout._Clock) -> None:
        if is_first:
            task.cancel()
        ring(clock)
        if not is_first:
            task.cancel()
        scopes.append(clock._scope)

    monkeypatch.setattr(call_timeout._Clock, "_ring", ring_and_cancel)
    async with Runner() as runner:

        async def wait() -> None:
            await runner.run_sync(blocked.stuck, timeout=SHORT)

        task = asyncio.create_task(wait())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert scopes
        blocked.released.set()


async def test_a_cancellation_by_a_scope_at_the_same_time_is_not_swallowed(
    held_call: type[HeldCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = held_call()
    ring = call_timeout._Clock._ring

    def ring_and_cancel(clock: call_timeout._Clock) -> None:
        ring(clock)
        outer.cancel()

    monkeypatch.setattr(call_timeout._Clock, "_ring", ring_and_cancel)
    async with Runner() as runner:
        with anyio.CancelScope() as outer:
            await runner.run_sync(blocked.stuck, timeout=SHORT)
        assert outer.cancelled_caught
        blocked.released.set()


# rule 8
async def test_a_late_error_is_logged_and_a_late_result_is_dropped(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call(), held_call()]

    def fail() -> None:
        made[0].stuck()
        raise LookupError("too late")

    async with Runner() as runner:
        for func, blocked in ((fail, made[0]), (made[1].stuck, made[1])):
            with pytest.raises(CallTimeoutError):
                await runner.run_sync(func, timeout=SHORT)
            blocked.released.set()
        await until(lambda: not runner.calls())
    records = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [str(record.exc_info and record.exc_info[1]) for record in records] in (
        ["too late"],
        [],  # it had not begun: no thread had come
    )


async def test_a_clock_that_is_stopped_before_it_is_set_does_not_ring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rings = list[object]()
    monkeypatch.setattr(call_timeout._Clock, "_ring", rings.append)

    async def run(call: Call[int]) -> int:
        call.try_start()
        call.worker_done()
        return 3

    call = Call(int, ())
    assert await call_timeout.run_within(run, call, 1e-9) == 3
    await anyio.wait_all_tasks_blocked()
    assert rings == []


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
async def test_a_timeout_out_of_range_is_refused(seconds: float) -> None:
    match = f"timeout must be > 0 seconds or None, was {seconds}"
    with pytest.raises(ValueError, match=match):
        await asyncrun.run_sync(str, timeout=seconds)
    async with Runner() as runner:
        with pytest.raises(ValueError, match=match):
            await runner.run_sync(str, timeout=seconds)
        with pytest.raises(ValueError, match=match):
            runner.submit(str, timeout=seconds)


async def test_a_call_that_has_just_ended_is_not_timed_out() -> None:
    call: Call[int] = Call(int, ())
    scope = anyio.CancelScope()
    clock = _Clock(call, 0, scope)
    assert call.try_start()
    assert not call.worker_done()
    clock._begun = time.monotonic()
    clock._ring()
    clock.close()
    assert not scope.cancel_called
    assert call.waiter_done()


async def test_a_timer_that_rings_too_early_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop's timers do, by up to a millisecond."""
    timers: list[tuple[float, Callable[[], object]]] = []
    clock_time = SimpleNamespace(monotonic=lambda: 0.0)

    def call_later(seconds: float, ring: Callable[[], object]) -> Callable[[], object]:
        timers.append((seconds, ring))
        return timers.clear

    def ring_at(seconds: float) -> None:
        clock_time.monotonic = lambda: seconds
        timers.pop()[1]()

    monkeypatch.setattr(call_timeout, "later_caller", lambda: call_later)
    monkeypatch.setattr(call_timeout, "time", clock_time)
    call: Call[int] = Call(int, ())
    scope = anyio.CancelScope()
    clock = _Clock(call, 5, scope)
    assert call.try_start()
    clock._set()
    assert timers == [(5, clock._ring)]
    ring_at(4.75)
    assert (timers, scope.cancel_called) == ([(0.25, clock._ring)], False)
    ring_at(5)
    assert (timers, scope.cancel_called) == ([], True)
    clock.close()
    assert not call.waiter_done()
    assert call.worker_done()


async def test_a_map_of_processes_knows_what_holds_its_slots() -> None:
    async with Runner(max_processes=1) as runner:
        assert runner.map(int, [], worker="process")._scheduler.holders() == []
