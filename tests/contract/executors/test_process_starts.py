"""Processes of a ProcessPoolExecutor that do not come up, or take long to go."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrun import ProcessWorkers, Runner, WorkerStartError
from asyncrun._workers.process.handle import WorkerProcess
from asyncrun.futures import ProcessPoolExecutor
from tests.contract import jobs, misbehaving_calls
from tests.contract.conftest import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.jobs import HeldProcessCall

    Make = Callable[[], HeldProcessCall]

KILLED = r"it was killed by SIGKILL.* as it began$"


def kill_what_starts(one: HeldProcessCall) -> None:
    wait_until(lambda: one.has("inside"))
    os.kill(int(one.read("inside")), signal.SIGKILL)
    one.release()


def test_a_process_that_is_killed_as_it_starts_costs_that_call_alone(
    held_process_call: Make,
) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(1, initializer=jobs.stuck, initargs=(one.path,)) as executor:
        several = [executor.submit(jobs.square, number) for number in range(4)]
        kill_what_starts(one)
        with pytest.raises(WorkerStartError, match=KILLED):
            several[0].result(PATIENCE)
        assert [future.result(PATIENCE) for future in several[1:]] == [1, 4, 9]
        assert not executor._broken


def test_a_process_that_is_killed_as_it_starts_does_not_break_the_pool_of_a_map(
    held_process_call: Make,
) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(1, initializer=jobs.stuck, initargs=(one.path,)) as executor:
        results = executor.map(jobs.square, range(4))
        kill_what_starts(one)
        with pytest.raises(WorkerStartError, match=KILLED):
            next(results)
        assert executor.submit(jobs.square, 3).result(PATIENCE) == 9


@pytest.mark.parametrize("buffersize", [None, 1])
def test_an_item_for_which_there_is_no_process_fails(
    monkeypatch: pytest.MonkeyPatch, buffersize: int | None
) -> None:
    started: list[str] = []

    def refuse(_: WorkerProcess, name: str) -> None:
        started.append(name)
        raise WorkerStartError(name, "none to be had")

    monkeypatch.setattr(WorkerProcess, "start", refuse)
    with ProcessPoolExecutor(1) as executor:
        results = executor.map(jobs.square, [1], buffersize=buffersize)
        with pytest.raises(WorkerStartError, match="none to be had"):
            next(results)
    assert started == ["square"]


def test_an_error_that_a_call_raises_itself_does_not_break_the_pool() -> None:
    error = WorkerStartError("a call of its own", "its initializer has failed")
    error.is_permanent = True
    with ProcessPoolExecutor(1) as executor:
        with pytest.raises(WorkerStartError, match="a call of its own"):
            executor.submit(jobs.throw, error).result(PATIENCE)
        assert executor.submit(jobs.square, 3).result(PATIENCE) == 9


def test_a_call_that_answers_in_time_has_its_outcome_though_its_process_exits_slowly() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
        limited = executor.options(timeout=1.0)
        assert limited.submit(misbehaving_calls.exit_slowly, 1.5).result(PATIENCE) == "answered"


@pytest.mark.anyio
async def test_a_call_of_a_runner_that_answers_in_time_has_its_outcome_too() -> None:
    workers = ProcessWorkers(1, max_tasks_per_child=1)
    async with Runner() as runner:
        with anyio.fail_after(PATIENCE):
            result = await runner.run_sync(
                misbehaving_calls.exit_slowly, 1.5, worker=workers, timeout=1.0
            )
        assert result == "answered"
