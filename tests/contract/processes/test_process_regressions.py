"""Worker processes when the unlikely happens; each test is of something that went wrong once."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrun import ProcessWorkers, Runner, WorkerDied
from asyncrun._workers.process import pool
from asyncrun._workers.process.handle import WorkerProcess
from asyncrun._workers.process.pool import ProcessPool
from asyncrun._workers.thread.worker import ThreadWorker
from tests.contract import misbehaving_calls
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from asyncrun import CallInfo
    from asyncrun._core.call import SlotLease

pytestmark = pytest.mark.anyio


# rule 18
async def test_a_time_out_behind_which_items_wait_costs_that_item_alone() -> None:
    job = partial(misbehaving_calls.nap_if, 200, 60)
    async with (
        Runner(max_processes=1, grace=PATIENCE) as runner,
        runner.map(
            job, range(400), worker="process", item_timeout=0.5, return_exceptions=True
        ) as results,
    ):
        got = [result async for result in results]
        assert isinstance(got[200], TimeoutError)
        assert [*got[:200], *got[201:]] == [*range(200), *range(201, 400)]


async def test_a_large_result_comes_though_many_items_were_sent_ahead_of_their_turn() -> None:
    items = [(number, bytes(500)) for number in range(600)]
    async with (
        Runner(max_processes=1) as runner,
        runner.map(partial(misbehaving_calls.big_if, 300), items, worker="process") as results,
    ):
        got = [result async for result in results]
        assert got == [(number, (number == 300) << 20) for number, _ in items]


async def test_items_behind_a_slow_one_go_to_another_process() -> None:
    job = partial(misbehaving_calls.nap_if, 100, 1)
    async with (
        Runner(max_processes=2) as runner,
        runner.map(job, range(200), worker="process", ordered=False) as results,
    ):
        got = [result async for result in results]
        assert sorted(got) == list(range(200))
        assert got[-1] == 100


# rule 20
async def test_a_process_that_owes_an_answer_gets_no_other_call() -> None:
    fleet = ProcessPool(None, None, 1.0)
    process = fleet.acquire("a call")
    process.start("a call")
    process.send(b"", b"")
    fleet.release(process)
    assert not process.is_alive()
    assert not fleet.acquire_idle_nowait(print)
    fleet.close()


async def test_a_function_that_cannot_be_sent_costs_no_slot() -> None:
    async with Runner(max_processes=1) as runner:
        assert await runner.run_sync(misbehaving_calls.same, 1, worker="process") == 1
        lock = threading.Lock()
        with pytest.raises(TypeError, match=r"<lambda> cannot be pickled: .*lock"):
            await runner.run_sync(lambda: lock, worker="process")
        assert await runner.run_sync(misbehaving_calls.same, 2, worker="process") == 2


async def test_an_interrupt_as_a_call_begins_costs_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Runner(max_processes=1) as runner:
        assert await runner.run_sync(misbehaving_calls.same, 1, worker="process") == 1
        with monkeypatch.context() as patch:
            patch.setattr(WorkerProcess, "send", interrupt)
            with pytest.raises(KeyboardInterrupt):
                await runner.run_sync(misbehaving_calls.same, 2, worker="process")
        assert runner.calls() == []
        assert await runner.run_sync(misbehaving_calls.same, 3, worker="process") == 3


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# rules 7 and 18
async def test_a_call_that_is_cancelled_before_a_thread_goes_on_with_it_ends_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_slot = ThreadWorker.run_in_thread
    scope = anyio.CancelScope()

    async def cancelled(self: ThreadWorker, stay: SlotLease[Any]) -> Any:
        scope.cancel()
        return await use_slot(self, stay)

    async with Runner(max_processes=1) as runner:
        await runner.run_sync(misbehaving_calls.pid, worker="process")
        async with anyio.create_task_group() as group:

            async def call() -> None:
                with scope:
                    path = str(tmp_path / "inside")
                    await runner.run_sync(misbehaving_calls.sleep_at, path, worker="process")

            group.start_soon(call)
            await until((tmp_path / "inside").exists)
            (info,) = runner.calls()
            monkeypatch.setattr(ThreadWorker, "run_in_thread", cancelled)
            os.kill(pid_in(info), signal.SIGKILL)  # so that it takes a thread to see to the end
            await until(lambda: scope.cancel_called)
            monkeypatch.undo()
        assert scope.cancelled_caught
        assert await runner.run_sync(misbehaving_calls.same, 1, worker="process") == 1


async def test_the_start_of_a_process_is_not_an_items_time() -> None:
    workers = ProcessWorkers(1, initializer=misbehaving_calls.take_long, initargs=(0.6,))
    async with (
        Runner() as runner,
        runner.map(misbehaving_calls.same, range(6), worker=workers, item_timeout=0.5) as results,
    ):
        assert [result async for result in results] == list(range(6))


@pytest.mark.parametrize("warm", [False, True])
async def test_a_death_is_seen_though_a_fork_holds_the_sockets(warm: bool) -> None:
    async with Runner(max_processes=1) as runner:
        if warm:
            await runner.run_sync(misbehaving_calls.pid, worker="process")
        with anyio.fail_after(PATIENCE), pytest.raises(WorkerDied, match="status 3"):
            await runner.run_sync(misbehaving_calls.fork_and_die, 3, worker="process")


async def test_a_forked_child_does_not_answer_for_its_parent() -> None:
    async with Runner(max_processes=1) as runner:
        for _ in range(2):
            assert (
                await runner.run_sync(misbehaving_calls.fork_and_return, worker="process")
                == "the parent"
            )


async def test_a_stopped_process_does_not_hold_up_the_event_loop() -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        os.kill(pid, signal.SIGSTOP)
        with anyio.move_on_after(0.05) as scope:
            await runner.run_sync(misbehaving_calls.same, 1 << 8_000_000, worker="process")
        assert scope.cancelled_caught
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") != pid


async def test_each_item_of_a_function_that_cannot_be_loaded_fails_with_as_short_an_error() -> None:
    async with (
        Runner(max_processes=1) as runner,
        runner.map(
            misbehaving_calls.Unloadable(), range(50), worker="process", return_exceptions=True
        ) as results,
    ):
        errors = [str(error.__cause__) async for error in results if isinstance(error, TypeError)]
        assert len(errors) == 50
        assert len(set(errors)) == 1


# rule 2
@pytest.mark.parametrize("reason", ["a" + 3000 * "é", "", None])
async def test_a_reason_arrives_be_it_long_or_none(tmp_path: Path, reason: str | None) -> None:
    path = tmp_path / "reason"
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        runner.submit(misbehaving_calls.clean_up_slowly, path, worker="process")
        await until((tmp_path / "ready").exists)
        runner.stop(reason)
    assert path.read_text()[:1000] == (reason or "none")[:1000]


async def test_what_takes_for_ever_to_unpickle_has_met_no_safe_point(tmp_path: Path) -> None:
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        argument = misbehaving_calls.BlocksLoading(tmp_path / "loading")
        handle = runner.submit(misbehaving_calls.same, argument, worker="process")
        await until((tmp_path / "loading").exists)
        handle.cancel()
        with anyio.fail_after(PATIENCE / 2):
            assert await runner.run_sync(misbehaving_calls.same, 1, worker="process") == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_answer_there_is_no_memory_for_is_an_error_of_that_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        with monkeypatch.context() as patch:
            patch.setattr(WorkerProcess, "receive_nowait", no_memory)
            with pytest.raises(MemoryError):
                await runner.run_sync(misbehaving_calls.same, 1, worker="process")
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") != pid


def no_memory(_: object) -> None:
    raise MemoryError


async def test_an_item_that_raises_as_it_is_pickled_fails_so() -> None:
    items = [*range(100), misbehaving_calls.Exits(), *range(100)]
    async with (
        Runner(max_processes=1) as runner,
        runner.map(misbehaving_calls.same, items, worker="process") as results,
    ):
        with pytest.raises(SystemExit):
            async for _ in results:
                pass


async def test_a_map_without_memory_for_an_answer_ends_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(misbehaving_calls.pid, worker="process")
        monkeypatch.setattr(WorkerProcess, "receive_nowait", no_memory)
        other = Runner(max_processes=1)
        with pytest.RaisesGroup(MemoryError, flatten_subgroups=True, allow_unwrapped=True):
            async with other:
                other_map = other.map(misbehaving_calls.same, range(100), worker="process")
                async with other_map as results:
                    async for _ in results:
                        pass
        assert other.calls() == []
        monkeypatch.undo()
        assert await runner.run_sync(misbehaving_calls.pid, worker="process") == pid


# rules 7 and 18
async def test_a_shielded_light_call_goes_down_the_ladder_too(tmp_path: Path) -> None:
    ended: list[BaseException] = []

    async with Runner(max_processes=1) as runner:
        await runner.run_sync(misbehaving_calls.pid, worker="process")

        async def call() -> None:
            with anyio.CancelScope(shield=True):
                try:
                    await runner.run_sync(
                        misbehaving_calls.sleep_at, str(tmp_path / "in"), worker="process"
                    )
                except BaseException as exc:
                    ended.append(exc)
                    raise

        runner.start_soon(call)
        await until((tmp_path / "in").exists)
        threading.Thread(target=runner.stop, args=("enough",)).start()
    assert [str(error) for error in ended] == ["asked to stop: enough"]


async def test_a_process_that_ignores_sigterm_and_what_it_started_are_killed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pid"
    async with Runner(max_processes=1) as runner:
        handle = runner.submit(misbehaving_calls.ignore_sigterm, path, worker="process")
        await until(lambda: path.exists() and path.read_text())
        (info,) = runner.calls()
        handle.cancel()
        assert await runner.run_sync(misbehaving_calls.same, 1, worker="process") == 1
        for pid in (pid_in(info), int(path.read_text())):
            await until(partial(is_gone, pid))


def pid_in(info: CallInfo) -> int:
    assert info.location is not None
    return int(info.location.removeprefix("process "))


def is_gone(pid: int | None) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


# rule 9
async def test_a_runner_that_is_cancelled_waits_less_for_exit_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "EXIT_TIMEOUT", 1000)
    monkeypatch.setattr(pool, "STOP_PATIENCE", 0.1)
    with anyio.CancelScope() as scope:
        async with Runner(max_processes=1) as runner:
            await runner.run_sync(misbehaving_calls.hang_at_exit, worker="process")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
