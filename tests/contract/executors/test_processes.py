"""A ProcessPoolExecutor beyond the standard library's: every call can be stopped."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import SerializationError, Stopped, WorkerDied, WorkerStartError, futures
from asyncrun.futures import ProcessPoolExecutor
from tests.conftest import children
from tests.contract import jobs, misbehaving_calls
from tests.contract.conftest import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.jobs import HeldProcessCall

    Make = Callable[[], HeldProcessCall]


@pytest.fixture
def executor() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, grace=PATIENCE) as executor:
        yield executor


def call_in(executor: ProcessPoolExecutor, func: Callable[..., Any], held: HeldProcessCall) -> Any:
    """Submit a call, and wait until it is in its body."""
    future = executor.submit(func, held.path)
    wait_until(lambda: held.has("inside"))
    return future


def test_calls_run_in_processes_of_their_own_and_take_keyword_arguments(
    executor: ProcessPoolExecutor,
) -> None:
    pids = {executor.submit(jobs.pid_of).result(PATIENCE) for _ in range(5)}
    assert os.getpid() not in pids
    assert executor.submit(int, "11", base=2).result(PATIENCE) == 3
    assert repr(executor).startswith("<ProcessPoolExecutor 'ProcessPoolExecutor-")
    with pytest.raises(LookupError, match="too bad"):
        executor.submit(jobs.fail, "too bad").result(PATIENCE)


def test_a_call_that_listens_ends_by_itself_and_its_process_lives_on(
    executor: ProcessPoolExecutor, held_process_call: Make
) -> None:
    one = held_process_call()
    future = call_in(executor, jobs.cooperative, one)
    (info,) = executor.calls()
    assert (info.name, info.state, info.location) == (
        "cooperative",
        "running",
        f"process {one.read('inside')}",
    )
    assert future.cancel() is False
    with pytest.raises(Stopped, match=r"^asked to stop: its future was cancelled$"):
        future.result(PATIENCE)
    assert one.has("left")
    assert jobs.is_alive(int(one.read("inside")))
    assert executor.submit(jobs.pid_of).result(PATIENCE) == int(one.read("inside"))


@pytest.mark.parametrize(
    "job", [jobs.stuck, jobs.stubborn, jobs.hold_gil], ids=["stuck", "stubborn", "GIL"]
)
def test_a_call_that_does_not_listen_is_killed_and_gone_when_its_future_is_done(
    executor: ProcessPoolExecutor, held_process_call: Make, job: Callable[[str], object]
) -> None:
    one = held_process_call()
    future = call_in(executor, job, one)
    gone: list[bool] = []

    def look(_: object) -> None:
        gone.append(not jobs.is_alive(int(one.read("inside"))))

    future.add_done_callback(look)
    assert future.cancel() is False
    with pytest.raises(Stopped, match=r"^asked to stop: its future was cancelled$"):
        future.result(PATIENCE)
    wait_until(lambda: gone)
    assert gone == [True]
    assert executor.submit(jobs.square, 3).result(PATIENCE) == 9


def test_what_has_not_begun_is_cancelled(held_process_call: Make) -> None:
    with ProcessPoolExecutor(1) as executor:
        one = held_process_call()
        running = call_in(executor, jobs.stuck, one)
        waiting = executor.submit(jobs.square, 3)
        assert waiting.cancel() is True
        one.release()
        assert running.result(PATIENCE) == "late"


def test_a_process_that_dies_costs_its_call_alone(
    executor: ProcessPoolExecutor, held_process_call: Make
) -> None:
    one = held_process_call()
    other = call_in(executor, jobs.stuck, one)
    future = executor.submit(os._exit, 3)
    with pytest.raises(BrokenProcessPool, match=r"the worker process of _exit .* with status 3$"):
        future.result(PATIENCE)
    assert isinstance(future.exception(), WorkerDied)
    one.release()
    assert other.result(PATIENCE) == "late"
    assert executor.submit(jobs.square, 3).result(PATIENCE) == 9


def test_an_idle_process_that_was_killed_is_replaced() -> None:
    with ProcessPoolExecutor(1) as executor:
        first = executor.submit(jobs.pid_of).result(PATIENCE)
        (view,) = executor._processes.values()
        assert (view.pid, view.is_alive(), view.exitcode) == (first, True, None)
        view.join(0)
        view.kill()
        view.join()
        view.terminate()  # it is gone: nothing happens
        assert (view.is_alive(), view.exitcode) == (False, -signal.SIGKILL)
        assert executor.submit(jobs.pid_of).result(PATIENCE) != first


def test_after_so_many_calls_a_process_is_replaced() -> None:
    with ProcessPoolExecutor(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(jobs.pid_of).result(PATIENCE) for _ in range(4)]
    assert pids[0] == pids[1] != pids[2] == pids[3]


@pytest.mark.parametrize(
    ("way", "job"), [("terminate_workers", jobs.linger), ("kill_workers", jobs.stubborn)]
)
def test_the_workers_can_be_killed_without_grace(
    held_process_call: Make, way: str, job: Callable[[str], object]
) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(2, grace=PATIENCE) as executor:
        future = call_in(executor, job, one)
        begin = time.monotonic()
        getattr(executor, way)()
        reason = f"its workers were {'killed' if way == 'kill_workers' else 'terminated'}"
        with pytest.raises(Stopped, match=reason):
            future.result(PATIENCE)
        assert time.monotonic() - begin < PATIENCE / 2
        with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown: "):
            executor.submit(int)
    assert not jobs.is_alive(int(one.read("inside")))


def test_leaving_by_an_error_stops_everything(held_process_call: Make) -> None:
    one, executor = held_process_call(), ProcessPoolExecutor(1)
    future = call_in(executor, jobs.stuck, one)
    waiting = executor.submit(jobs.square, 3)
    with pytest.raises(KeyboardInterrupt), executor:
        raise KeyboardInterrupt
    with pytest.raises(Stopped, match="its executor was left by KeyboardInterrupt"):
        future.result(0)
    assert waiting.cancelled()
    assert not jobs.is_alive(int(one.read("inside")))


def test_an_initializer_runs_first_in_each_process() -> None:
    with ProcessPoolExecutor(1, initializer=jobs.remember, initargs=(1, "two")) as executor:
        assert executor.submit(jobs.recall).result(PATIENCE) == [(1, "two")]


def test_an_initializer_that_fails_breaks_the_pool(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor(1, initializer=jobs.fail, initargs=("too bad",)) as executor:
        several = [executor.submit(jobs.square, n) for n in range(3)]
        for future in several:
            with pytest.raises(BrokenProcessPool, match="A process initializer failed"):
                future.result(PATIENCE)
        assert str(executor._broken).startswith("A process initializer failed")
        with pytest.raises(BrokenProcessPool, match="A process initializer failed"):
            executor.submit(jobs.square, 3)
    errors = capfd.readouterr().err
    assert errors.startswith("Exception in initializer:\nTraceback")
    assert "LookupError: too bad" in errors
    cause: Any = several[0].exception()
    while not isinstance(cause, LookupError):
        cause = cause.__cause__


def test_an_initializer_that_fails_breaks_the_maps(capfd: pytest.CaptureFixture[str]) -> None:
    with ProcessPoolExecutor(1, initializer=jobs.fail, initargs=("too bad",)) as executor:
        results = executor.map(jobs.square, range(3))
        with pytest.raises(BrokenProcessPool, match="A process initializer failed"):
            next(results)
    assert "LookupError: too bad" in capfd.readouterr().err


def test_a_process_that_cannot_be_started_costs_that_call(
    executor: ProcessPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no process to be had")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(WorkerStartError, match="no process to be had"):
            executor.submit(jobs.square, 3).result(PATIENCE)
        with pytest.raises(WorkerStartError, match="no process to be had"):
            list(executor.map(jobs.square, [3]))
    assert executor.submit(jobs.square, 3).result(PATIENCE) == 9


def test_what_cannot_be_pickled_costs_that_call_alone(executor: ProcessPoolExecutor) -> None:
    lock = threading.Lock()
    several: list[tuple[Any, ...]] = [(lambda: lock,), (str, lock), (threading.Lock,)]
    for args in several:
        with pytest.raises(SerializationError, match="cannot be pickled") as caught:
            executor.submit(*args).result(PATIENCE)
        assert isinstance(caught.value, PicklingError)
    with pytest.raises(SerializationError, match="cannot be pickled"):
        list(executor.map(threading.Lock().acquire, [False]))
    assert list(executor.map(str, [1, 2])) == ["1", "2"]
    with (
        ProcessPoolExecutor(1, initializer=str, initargs=(lock,)) as other,
        pytest.raises(SerializationError, match="the initializer cannot be pickled"),
    ):
        list(other.map(jobs.square, range(3)))


def test_a_task_that_is_cancelled_stops_its_call(held_process_call: Make) -> None:
    async def main(executor: ProcessPoolExecutor) -> None:
        one = held_process_call()
        task = asyncio.get_running_loop().run_in_executor(executor, jobs.stuck, one.path)
        while not one.has("inside"):  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while jobs.is_alive(int(one.read("inside"))):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    with ProcessPoolExecutor(1) as executor:
        asyncio.run(main(executor))


def test_an_executor_that_nobody_refers_to_ends_its_processes() -> None:
    before = children()
    executor = ProcessPoolExecutor(1)
    executor.submit(jobs.pid_of).result(PATIENCE)
    del executor
    wait_until(lambda: children() == before)


def test_a_shutdown_without_waiting_finishes_what_was_submitted() -> None:
    before = children()
    executor = ProcessPoolExecutor(1)
    several = [executor.submit(jobs.square, n) for n in range(5)]
    executor.shutdown(wait=False)
    assert [future.result(PATIENCE) for future in several] == [0, 1, 4, 9, 16]
    executor.shutdown()
    assert children() == before


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": 1.5}, ValueError, "max_workers must be a whole number"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
        ({"max_tasks_per_child": 1.0}, TypeError, "max_tasks_per_child must be an integer"),
        ({"initializer": "x"}, TypeError, "initializer must be a callable"),
        ({"grace": -1.0}, ValueError, "grace must be >= 0 seconds, was -1.0"),
        ({"grace": float("nan")}, ValueError, "grace must be >= 0 seconds, was nan"),
        (
            {"mp_context": multiprocessing.get_context("fork")},
            ValueError,
            "always spawned, was 'fork': .* they inherit no globals",
        ),
    ],
)
def test_options_out_of_their_range_are_refused(
    options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        ProcessPoolExecutor(**options)


def test_a_spawn_context_is_taken_and_seen() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context) as executor:
        assert isinstance(executor, futures.Executor)
        assert executor._mp_context is not None
        assert executor._mp_context.get_start_method() == "spawn"
        with pytest.raises(ValueError, match=r"^chunksize must be >= 1\.$"):
            executor.map(int, [1], chunksize=0)


def test_a_forked_child_has_none_of_the_processes_and_starts_its_own() -> None:
    with ProcessPoolExecutor(1) as executor:
        theirs = executor.submit(jobs.pid_of).result(PATIENCE)
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:  # what fails here is seen by what is not written
            try:
                mine = executor.submit(jobs.pid_of).result(PATIENCE)
                executor.shutdown()
                os.write(writer, f"{mine}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with os.fdopen(reader) as answer:
            assert int(answer.read()) != theirs
        assert executor.submit(jobs.pid_of).result(PATIENCE) == theirs


def test_a_map_streams_results_in_order(
    executor: ProcessPoolExecutor, held_process_call: Make
) -> None:
    assert list(executor.map(jobs.square, range(2000), chunksize=100)) == [
        n * n for n in range(2000)
    ]
    assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]
    assert list(executor.map(jobs.square, range(50), buffersize=3)) == [n * n for n in range(50)]
    one = held_process_call()
    results = executor.map(jobs.visit, [(0, ""), (1, one.path), (2, "")])
    assert next(results) == 0
    one.release()
    assert list(results) == [1, 2]
    with pytest.raises(LookupError, match="too bad"):
        list(executor.map(jobs.fail, ["too bad", "worse"]))


def test_an_item_whose_process_dies_fails_and_the_others_run_once(
    held_process_call: Make,
) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(2) as executor:
        results = executor.map(jobs.exit_at, [(n, one.path) for n in range(-3, 20)])
        taken: list[int] = []
        with pytest.raises(WorkerDied):
            taken.extend(results)
        assert executor.submit(jobs.square, 3).result(PATIENCE) == 9
    notes = one.notes()
    assert len(notes) == len(set(notes))


def test_items_that_were_sent_behind_a_slow_one_run_elsewhere() -> None:
    slow = misbehaving_calls.nap_if
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(jobs.square, range(100)))  # both are there
        begin = time.monotonic()
        assert list(executor.map(slow, [50] * 100, [1.0] * 100, range(100))) == list(range(100))
        assert time.monotonic() - begin < PATIENCE / 2


def test_a_time_out_of_a_map_stops_what_runs(held_process_call: Make) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(1) as executor:
        results = executor.map(jobs.stuck, [one.path], timeout=0.5)
        with pytest.raises(TimeoutError):
            next(results)
        assert executor.submit(jobs.square, 3).result(PATIENCE) == 9
    if one.has("inside"):
        assert not jobs.is_alive(int(one.read("inside")))
