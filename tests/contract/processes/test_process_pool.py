"""Worker processes: acquired, released, and fit for another call; most went wrong once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections import Counter
from functools import partial
from multiprocessing import process as this_process
from multiprocessing import spawn
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from asyncrun import ProcessWorkers, Runner, SerializationError, StopSource
from asyncrun._workers.process import pool
from asyncrun._workers.process.ipc.channels import ProcessChannels, Ready
from asyncrun._workers.process.ipc.protocol import Code
from asyncrun._workers.process.pool import ProcessPool
from asyncrun._workers.remote.call import RemoteCall
from asyncrun._workers.remote.serialization import dumps
from tests.conftest import children
from tests.contract import jobs, misbehaving_calls
from tests.contract.conftest import PATIENCE, brought, until, wait_until
from tests.contract.processes.test_process_regressions import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asyncrun import MapResults
    from asyncrun._workers.process.handle import WorkerProcess

pytestmark = pytest.mark.anyio


async def test_the_default_timeout_of_sockets_is_not_for_those_of_a_worker() -> None:
    socket.setdefaulttimeout(0.01)
    try:
        async with Runner(max_processes=1) as runner:
            pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
            await runner.run_sync(misbehaving_calls.take_long, 0.1, worker="process")
            await anyio.sleep(0.1)
            assert await runner.run_sync(misbehaving_calls.pid, worker="process") == pid
    finally:
        socket.setdefaulttimeout(None)


async def test_a_method_has_the_state_that_its_object_has_when_it_is_called() -> None:
    numbers = [3, 2, 1]
    counts, takes = numbers.count, numbers.pop
    async with Runner(max_processes=1) as runner:
        assert [await runner.run_sync(takes, worker="process") for _ in range(3)] == [1, 1, 1]
        assert await runner.run_sync(counts, 1, worker="process") == 1
        numbers.append(1)
        assert await runner.run_sync(counts, 1, worker="process") == 2


async def test_an_idle_process_that_was_killed_gets_no_call_though_a_fork_holds_its_sockets() -> (
    None
):
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.fork_and_stay, worker="process")
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") == pid
        os.kill(pid, signal.SIGKILL)
        look = os.WEXITED | os.WNOWAIT | os.WNOHANG
        await until(lambda: os.waitid(os.P_PID, pid, look))
        with anyio.fail_after(PATIENCE):
            assert await runner.run_sync(misbehaving_calls.same, 7, worker="process") == 7


# rule 18
@pytest.mark.parametrize(
    "job", [misbehaving_calls.look_between_long_steps, misbehaving_calls.hook_around_long_steps]
)
async def test_a_call_that_met_a_safe_point_has_its_grace_though_it_holds_the_gil(
    tmp_path: Path, job: Callable[[Path], None]
) -> None:
    path = tmp_path / "end"
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        handle = runner.submit(job, path, worker="process")
        await brought((tmp_path / "ready").exists)
        handle.cancel()
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") == pid
    assert path.read_text() == "cleaned up"


async def test_an_interrupt_as_a_result_is_unpacked_costs_neither_slot_nor_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        with monkeypatch.context() as patch:
            patch.setattr(RemoteCall, "finish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                await runner.run_sync(misbehaving_calls.pid, worker="process")
        assert runner.calls() == []
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") == pid


def test_a_process_that_nobody_gives_back_ends_with_its_runner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "EXIT_TIMEOUT", 0)
    fleet = ProcessPool(None, None, 0.0)
    kept: list[WorkerProcess] = []
    process = fleet.acquire("a call")
    process.start("a call")
    fleet.release(process)
    assert fleet.acquire_idle_nowait(kept.append)
    fleet.close()
    assert kept == [process]
    assert not process.is_alive()


async def test_calls_that_were_taken_back_do_not_count() -> None:
    workers = ProcessWorkers(1, max_tasks_per_child=50)
    async with (
        Runner() as runner,
        runner.map(misbehaving_calls.nap_at_tens, range(300), worker=workers) as results,
    ):
        calls = Counter([pid async for pid in results])
        assert list(calls.values()) == [50] * 6


# rule 20
async def test_a_result_that_takes_time_to_unpickle_does_not_hold_up_the_event_loop() -> None:
    misbehaving_calls.Loads.begun.clear()
    misbehaving_calls.Loads.let.clear()
    async with Runner(max_processes=1) as runner:
        await runner.run_sync(misbehaving_calls.pid, worker="process")
        handle = runner.submit(misbehaving_calls.give_what_loads, worker="process")
        await until(misbehaving_calls.Loads.begun.is_set)
        misbehaving_calls.Loads.let.set()
        assert await handle == "loaded"


async def test_a_call_whose_arguments_never_arrived_is_run_by_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    select, waits = ProcessChannels.select, anyio.Event()

    def noted(self: ProcessChannels, seconds: float, *, to_send: bool = False) -> Ready:
        if to_send:
            runner._group.call_soon_threadsafe(waits.set)
        return select(self, seconds, to_send=to_send)

    monkeypatch.setattr(ProcessChannels, "select", noted)
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        os.kill(pid, signal.SIGSTOP)
        handle = runner.submit(misbehaving_calls.count, bytes(1 << 23), worker="process")
        await waits.wait()
        os.kill(pid, signal.SIGKILL)
        assert await handle == 1 << 23


def test_no_signal_goes_to_a_process_that_was_reaped(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = ProcessPool(None, None, 1.0)
    process = fleet.acquire("a call")
    process.start("a call")
    process.close_input()
    assert process.terminate(PATIENCE) == 0
    killed: list[Any] = []
    monkeypatch.setattr(os, "killpg", partial(killed.append))
    assert process.terminate() == 0
    fleet.release(process)
    fleet.close()
    assert killed == []


# rule 18
def test_what_was_sent_ahead_is_taken_back_when_the_call_before_is_asked_to_stop() -> None:
    fleet, source = ProcessPool(None, None, PATIENCE), StopSource()
    process = fleet.acquire("a call")
    process.start("a call")
    process.set_current_call(1, source.token)
    process.send(dumps(misbehaving_calls.look_and_sleep, "f"), dumps((1,), "it"))
    process.prefetch([dumps((number,), "it") for number in (2, 3)])
    source.stop()
    process.wake()
    assert process.receive(None) is None
    assert process.take_revoked() == 2
    frame = process.receive(None)
    assert frame is not None
    assert (frame.call_id, frame.code) == (1, Code.RAISED)
    fleet.release(process)
    assert process.is_alive()
    fleet.close()


async def test_without_a_thread_the_event_loop_brings_a_call_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    path = tmp_path / "inside"
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        handle = runner.submit(misbehaving_calls.sleep_at, str(path), worker="process")
        await brought(path.exists)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            handle.cancel()
            await until(lambda: is_gone(pid))
            await until(lambda: not runner.calls())
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") != pid


async def test_without_a_thread_the_event_loop_ends_the_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    pid = None
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        monkeypatch.setattr(anyio.to_thread, "run_sync", refuse)
    assert is_gone(pid)


#
# To start one
#


def test_a_process_that_still_imports_its_main_module_starts_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(this_process.current_process(), "_inheriting", True, raising=False)
    fleet = ProcessPool(None, None, 1.0)
    worker = fleet.acquire("a call")
    with pytest.raises(RuntimeError, match=r"below `if __name__ == '__main__':`"):
        worker.start("a call")
    fleet.release(worker)
    fleet.close()


@pytest.fixture
def many_arguments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make a process need more at its start than a pipe holds."""
    monkeypatch.setattr(sys, "argv", [sys.argv[0], "x" * 500_000])
    return 500_000


async def test_a_process_may_need_more_at_its_start_than_a_pipe_holds(many_arguments: int) -> None:
    async with Runner(max_processes=1) as runner:
        _, argument = await runner.run_sync(misbehaving_calls.arguments, worker="process")
        assert len(argument) == many_arguments


async def test_a_process_that_ends_before_it_has_read_that_does_not_hold_up_its_call(
    many_arguments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable = spawn.get_executable()
    monkeypatch.setattr(spawn, "_python_exe", b"/bin/false")
    with anyio.fail_after(PATIENCE):
        async with Runner(max_processes=1) as runner:
            with pytest.raises(RuntimeError, match="it ended with status 1 as it began"):
                await runner.run_sync(misbehaving_calls.pid, worker="process")
            spawn.set_executable(executable)
            assert await runner.run_sync(misbehaving_calls.pid, worker="process")


async def test_a_start_that_fails_half_way_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def fail(_: int, pid: int) -> None:
        started.append(pid)
        raise OSError(12, "Cannot allocate memory")

    async with Runner(max_processes=1) as runner:
        with monkeypatch.context() as patch:
            patch.setattr("asyncrun._workers.process.spawn.kill_group_with_parent", fail)
            with pytest.raises(RuntimeError, match="Cannot allocate memory"):
                await runner.run_sync(misbehaving_calls.pid, worker="process")
        wait_until(lambda: is_gone(started[0]))
        assert await runner.run_sync(misbehaving_calls.pid, worker="process")


@pytest.mark.parametrize("kind", ["call", "map"])
async def test_a_call_that_comes_for_a_process_as_the_runner_ends_finds_none(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    coming, closed = threading.Event(), threading.Event()
    acquire, close = ProcessPool.acquire, ProcessPool.close

    def acquire_late(pool: ProcessPool, name: str) -> Any:
        coming.set()
        assert closed.wait(PATIENCE)
        return acquire(pool, name)

    def close_and_tell(pool: ProcessPool, **how: bool) -> None:
        close(pool, **how)
        closed.set()

    monkeypatch.setattr(ProcessPool, "acquire", acquire_late)
    monkeypatch.setattr(ProcessPool, "close", close_and_tell)
    before = children()
    async with Runner(grace=0) as runner:
        if kind == "call":
            runner.submit(jobs.square, 3, worker="process")
        else:
            runner.start_soon(_read_all, runner.map(jobs.square, [3], worker="process"))
        await brought(coming.is_set)
        runner.stop()
    assert runner.calls() == []
    assert children() == before


async def _read_all(results: MapResults[Any]) -> None:
    async with results:
        assert [result async for result in results] == []


# rule 20: until it has a group of its own, a new process gets what the parent's group gets
async def test_a_ctrl_c_does_not_reach_a_process_that_just_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nkill -INT $$\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(spawn, "_python_exe", os.fsencode(python))
    async with Runner(max_processes=1) as runner:
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9
        mask = partial(signal.pthread_sigmask, signal.SIG_BLOCK, ())
        assert await runner.run_sync(mask, worker="process") == mask()


async def test_a_call_that_the_loop_cannot_pickle_is_left_to_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pickle_function, failed = ProcessPool.pickle_function, list[str]()

    def fail_in_the_loop(self: ProcessPool, func: Any, name: str) -> bytes:
        if threading.current_thread() is threading.main_thread():
            failed.append(name)
            raise SerializationError(name, "pickled", "a test says so")
        return pickle_function(self, func, name)

    async with Runner(max_processes=1) as runner:
        await runner.run_sync(jobs.square, 2, worker="process")
        monkeypatch.setattr(ProcessPool, "pickle_function", fail_in_the_loop)
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9
    assert failed == ["square"]
