"""Worker processes: how long they live, and what their calls have of their own."""

from __future__ import annotations

import gc
import os
import re
import signal
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from asyncrun import ProcessWorkers, Runner
from tests.conftest import PROGRAMS, children
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


async def test_a_warm_process_serves_one_call_after_the_other() -> None:
    pids: set[int] = set()
    async with Runner(max_processes=2) as runner:
        pids |= {await runner.run_sync(jobs.pid_of, worker="process") for _ in range(20)}
        async with runner.map(
            jobs.pid_of, range(20), worker="process", max_concurrency=1
        ) as results:
            pids |= {pid async for pid in results}
        assert len(pids) == 1
        assert os.getpid() not in pids
    assert not any(map(jobs.is_alive, pids))


async def test_no_process_is_started_before_a_call_needs_one() -> None:
    before = children()
    async with Runner(max_processes=2) as runner:
        assert await runner.run_sync(abs, -1) == 1
        assert children() == before


@pytest.mark.parametrize("most", [1, 3])
async def test_a_process_is_replaced_after_so_many_calls(most: int) -> None:
    workers = ProcessWorkers(1, max_tasks_per_child=most)
    async with Runner() as runner:
        pids = [await runner.run_sync(jobs.pid_of, worker=workers) for _ in range(2 * most)]
        assert pids == [pid for pid in dict.fromkeys(pids) for _ in range(most)]
        assert len(set(pids)) == 2
        async with runner.map(jobs.pid_of, range(2 * most), worker=workers) as results:
            pids = [pid async for pid in results]
        assert len(set(pids)) == 2
        assert max(map(pids.count, pids)) == most


async def test_each_process_is_initialized_before_its_first_call() -> None:
    workers = ProcessWorkers(1, initializer=jobs.remember, initargs=("a", 1), max_tasks_per_child=2)
    async with Runner() as runner:
        for _ in range(4):
            assert await runner.run_sync(jobs.recall, worker=workers) == [("a", 1)]


async def test_an_initializer_that_fails_is_an_error_of_the_call_that_wanted_the_process() -> None:
    workers = ProcessWorkers(initializer=jobs.fail, initargs=("no model",))
    async with Runner() as runner:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"the initializer fail\(\) raised") as caught:
                await runner.run_sync(jobs.square, 3, worker=workers)
            assert "no model" in str(caught.value)
        with pytest.raises(RuntimeError, match="no model"):
            async with runner.map(jobs.square, range(3), worker=workers) as results:
                await anext(results)
        assert await runner.run_sync(jobs.square, 3) == 9


def test_an_initializer_takes_locks_and_queues_of_multiprocessing(
    start: Callable[..., Child],
) -> None:
    assert start(PROGRAMS / "processes" / "initialized_with_locks.py").finish() == (0, "done\n", "")


# rules 18 and 20
async def test_a_process_has_a_group_of_its_own_and_an_empty_standard_input() -> None:
    async with Runner() as runner:
        there = await runner.run_sync(jobs.surroundings, worker="process")
        assert there["parent"] == os.getpid()
        assert there["group"] == there["pid"] != os.getpgrp()
        assert there["stdin"] == b""


# rule 20
async def test_what_a_call_prints_spoils_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    async with Runner() as runner:
        assert await runner.run_sync(jobs.talk, 1, worker="process") == 1
        async with runner.map(jobs.talk, range(5), worker="process") as results:
            assert [result async for result in results] == [0, 1, 2, 3, 4]
    assert sorted(capfd.readouterr().out.split("\n")) == ["", *["more noise"] * 6, *["noise"] * 6]


async def test_much_goes_both_ways() -> None:
    contents = [bytes([number]) * size + b"!" for number, size in enumerate((3 << 20, 0, 70_000))]
    async with Runner(max_processes=2) as runner:
        for content in contents:
            there, back = await runner.run_sync(jobs.length, content, worker="process")
            assert (there, back) == (len(content), content[::-1])
        async with runner.map(jobs.length, contents * 4, worker="process") as results:
            got = [result async for result in results]
        assert got == [(len(content), content[::-1]) for content in contents * 4]


# rule 18
@pytest.mark.parametrize("way", ["stuck", "cooperative"])
async def test_what_a_cancelled_call_has_started_ends_with_its_process(
    held_process_call: Callable[[], HeldProcessCall], way: str
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        handle = runner.submit(jobs.with_child, place.path, way, worker="process")
        pid, child = int(await told(place)), int(await told(place, "child"))
        handle.cancel()
        await handle.wait()
        other = await runner.run_sync(jobs.pid_of, worker="process")
        assert (other == pid) == (way == "cooperative")
        if way == "stuck":
            assert not jobs.is_alive(pid)
            assert not jobs.is_alive(child)
    assert not jobs.is_alive(int(place.read("child")))


# rule 18
@pytest.mark.parametrize(
    ("job", "in_map"),
    [("stuck", False), ("stuck", True), ("stubborn", False), ("hold_gil", True)],
)
async def test_a_call_that_does_not_look_is_killed_and_its_process_replaced(
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
    job: str,
    in_map: bool,
) -> None:
    place = held_process_call()
    func = getattr(jobs, job)
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        if in_map:
            async with runner.map(func, [place.path], worker="process"):
                pid = int(await told(place))
        else:
            handle = runner.submit(func, place.path, worker="process")
            pid = int(await told(place))
            handle.cancel()
        # With one slot: whoever has it next finds the process gone.
        assert not await runner.run_sync(jobs.is_alive, pid, worker="process")
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9
        assert runner.calls() == []
    assert not place.has("left")
    assert caplog.records == []


# rule 18
@pytest.mark.parametrize("in_map", [False, True])
async def test_a_call_that_heeds_keeps_its_process(
    held_process_call: Callable[[], HeldProcessCall], in_map: bool
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        if in_map:
            async with runner.map(jobs.cooperative, [place.path], worker="process"):
                await told(place)
        else:
            handle = runner.submit(jobs.cooperative, place.path, worker="process")
            await told(place)
            handle.cancel()
        assert await runner.run_sync(jobs.pid_of, worker="process") == int(place.read("inside"))


# rule 18
async def test_a_call_that_heeds_and_takes_longer_than_the_grace_is_killed(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=0.1) as runner:
        handle = runner.submit(jobs.linger, place.path, worker="process")
        pid = int(await told(place))
        handle.cancel()
        assert not await runner.run_sync(jobs.is_alive, pid, worker="process")
    assert not place.has("left")


# rule 18
async def test_a_shielded_wait_of_a_call_that_does_not_look_ends_with_its_process(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    place = held_process_call()

    handles: list[anyio.TaskHandle[None]] = []

    async def critical(runner: Runner) -> None:
        with anyio.CancelScope(shield=True):
            await runner.run_sync(jobs.stuck, place.path, worker="process")

    async with Runner(grace=PATIENCE) as runner:
        handles.append(runner.start_soon(critical, runner))
        await told(place)
        runner.stop()
    assert [handle.status.name for handle in handles] == ["CANCELLED"]
    assert not jobs.is_alive(int(place.read("inside")))


async def _is_dead(pid: int) -> None:
    """Wait for a process to be dead in all its threads, and leave its status to whom it belongs."""
    await anyio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def test_an_idle_process_that_was_killed_is_replaced_unnoticed() -> None:
    async with Runner(max_processes=1) as runner:
        for _ in range(3):
            pid = await runner.run_sync(jobs.pid_of, worker="process")
            os.kill(pid, signal.SIGKILL)
            await _is_dead(pid)
            assert await runner.run_sync(jobs.pid_of, worker="process") != pid
        pid = await runner.run_sync(jobs.pid_of, worker="process")
        os.kill(pid, signal.SIGKILL)
        await _is_dead(pid)
        async with runner.map(jobs.pid_of, range(9), worker="process") as results:
            assert pid not in {other async for other in results}


@pytest.mark.parametrize("job", ["stuck", "cooperative"])
async def test_many_calls_after_a_cancelled_one_all_get_their_own_answers(
    held_process_call: Callable[[], HeldProcessCall], job: str
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        handle = runner.submit(getattr(jobs, job), place.path, worker="process")
        await told(place)
        handle.cancel()
        for number in range(500):
            assert await runner.run_sync(jobs.square, number, worker="process") == number**2
        async with runner.map(jobs.square, range(500), worker="process") as results:
            assert [result async for result in results] == [n * n for n in range(500)]


async def test_a_runner_that_stops_while_a_process_starts_leaves_nothing() -> None:
    for _ in range(3):
        async with Runner(grace=PATIENCE) as runner:
            runner.submit(jobs.square, 3, worker="process")
            await brought(runner.calls)
            runner.stop()
        assert runner.calls() == []
    gc.collect()


async def test_worker_objects_have_processes_and_slots_of_their_own() -> None:
    one, other = ProcessWorkers(1), ProcessWorkers(2)
    before = children()
    async with Runner(max_processes=1) as runner:
        pids = {
            await runner.run_sync(jobs.pid_of, worker=worker)
            for worker in ("process", one, other, one, "process", other)
        }
        assert len(pids) == 3
        async with runner.map(jobs.pid_of, range(9), worker=one) as results:
            assert {pid async for pid in results} < pids
    assert children() == before


async def test_a_worker_object_belongs_to_the_first_runner_that_uses_it() -> None:
    workers = ProcessWorkers(3)
    said = "<ProcessWorkers of 3> belongs to <Runner 'first'>; make one for each runner"
    async with Runner(name="first") as first, Runner() as second:
        assert await first.run_sync(jobs.square, 2, worker=workers) == 4
        with pytest.raises(RuntimeError) as caught:
            await second.run_sync(jobs.square, 2, worker=workers)
        assert str(caught.value) == said
        assert await first.run_sync(jobs.square, 2, worker=workers) == 4
    async with Runner() as third:
        with pytest.raises(RuntimeError) as caught:
            third.map(jobs.square, [2], worker=workers)
        assert str(caught.value) == said


@pytest.mark.parametrize("wrong", [ProcessWorkers, None, 4, ["process"], {}])
async def test_what_is_no_worker_is_refused(wrong: Any) -> None:
    async with Runner() as runner:
        with pytest.raises(ValueError, match=r"such as ProcessWorkers\(\), was "):
            runner.submit(jobs.square, 2, worker=wrong)


async def test_calls_says_that_a_process_is_being_started(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    held = held_process_call()
    workers = ProcessWorkers(1, initializer=jobs.stuck, initargs=(held.path,))
    async with Runner() as runner:
        call = runner.submit(jobs.pid_of, worker=workers)
        await told(held)
        (info,) = runner.calls()
        assert (info.state, info.location, info.where, info.stopping) == (
            "starting",
            None,
            None,
            False,
        )
        assert re.fullmatch(r"pid_of, \d+\.\d s, in a worker that is being started", str(info))
        held.release()
        assert await call > 0
