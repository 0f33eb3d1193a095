"""One blocking call in whatever worker: rules 4, 5, 7 and 8."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncrun
from asyncrun import Runner
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, brought, runner_of, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


async def test_gives_results_and_errors_and_goes_on(
    worker: AnyWorker, caplog: pytest.LogCaptureFixture
) -> None:
    async with Runner() as runner:
        for _ in range(2):  # in a worker that is new, and in one that is warm
            assert await runner.run_sync(divmod, 7, 3, worker=worker) == (2, 1)
            assert await runner.run_sync(partial(divmod, 7), 3, worker=worker) == (2, 1)
            assert await runner.run_sync(dict, [("a", 1)], worker=worker) == {"a": 1}
            with pytest.raises(LookupError, match=r"^no such thing$") as caught:
                await runner.run_sync(jobs.fail, "no such thing", worker=worker)
            assert type(caught.value) is LookupError
            with pytest.raises(RuntimeError, match="StopIteration"):
                await runner.run_sync(next, iter(()), worker=worker)
            with pytest.raises(jobs.Alone):
                await runner.run_sync(jobs.throw, jobs.Alone("mine"), worker=worker)
            with pytest.raises(ExceptionGroup) as group:
                await runner.run_sync(
                    jobs.throw,
                    ExceptionGroup("both", [OSError(2, "no"), KeyError(1)]),
                    worker=worker,
                )
            assert [repr(each) for each in group.value.exceptions] == [
                "FileNotFoundError(2, 'no')",
                "KeyError(1)",
            ]
    assert caplog.records == []


async def test_what_is_no_blocking_function_is_refused(worker: AnyWorker) -> None:
    async with Runner() as runner:
        wrong: Any
        for wrong in (anyio.sleep, partial(anyio.sleep, 1)):
            with pytest.raises(TypeError, match=r"wants a blocking function, got .*start_soon"):
                await runner.run_sync(wrong, 1, worker=worker)
        wrong = "text"
        with pytest.raises(TypeError, match="wants a blocking function, got 'text'"):
            runner.submit(wrong, worker=worker)


# rules 3 and 4
async def test_each_call_has_a_token_of_its_own_which_is_not_set(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1, grace=PATIENCE) as runner:
        assert await runner.run_sync(jobs.look, worker=worker) == ("<StopToken not set>", False)
        handle = runner.submit(jobs.cooperative, place.path, worker=worker)
        await told(place)
        handle.cancel()
        assert await runner.run_sync(jobs.look, worker=worker) == ("<StopToken not set>", False)
        assert place.has("left")


async def test_submit_gives_anyios_task_handle(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        handle = runner.submit(divmod, 7, 3, worker=worker, name="a division")
        assert isinstance(handle, anyio.TaskHandle)
        assert handle.name == "a division"
        assert await handle == (2, 1)
        lingering = runner.submit(jobs.linger, place.path, worker=worker)
        assert lingering.name == "linger"
        await told(place)
        lingering.cancel()
        await lingering.wait()
        assert lingering.status is anyio.TaskHandle.Status.CANCELLED
        assert not place.has("left")
        await told(place, "noticed")
        place.release()


WAYS: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "new": lambda path: (jobs.linger, path),
    "warm": lambda path: (jobs.linger, path),
    "warm and not light": lambda path: (partial(jobs.linger, path),),
}


async def _cancel_the_await(how: str, waiting: Callable[[], Any], place: HeldProcessCall) -> None:
    if how == "native":
        task = asyncio.ensure_future(waiting())
        await told(place)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    with pytest.RaisesGroup(ValueError) if how == "sibling" else anyio.CancelScope():
        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()

            async def wait_in_scope() -> None:
                with scope:
                    await waiting()

            group.start_soon(wait_in_scope)
            await told(place)
            if how == "scope":
                scope.cancel()
            elif how == "timeout":
                scope.deadline = anyio.current_time()
            else:
                raise ValueError


# rules 5 and 18
@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("new", "scope"),
        ("warm", "timeout"),
        ("warm", "sibling"),
        ("warm", "native"),
        ("warm and not light", "scope"),
    ],
)
async def test_a_cancellation_ends_the_await_at_once_and_sets_the_token(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    how: str,
    way: str,
    anyio_backend: tuple[str, Any],
) -> None:
    if how == "native" and anyio_backend[0] == "trio":
        return
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        if way != "new":
            await runner.run_sync(abs, -1, worker=worker)

        async def wait() -> None:
            await runner.run_sync(*WAYS[way](place.path), worker=worker)

        await _cancel_the_await(how, wait, place)
        assert not place.has("left")
        await told(place, "noticed")
        place.release()
        assert await told(place, "left") == "<StopToken set: its caller was cancelled>"


async def test_a_call_whose_caller_is_cancelled_before_it_begins_never_runs(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1) as runner:
        for _ in range(2):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await runner.run_sync(jobs.note, place.path, "begun", worker=worker)
            assert scope.cancelled_caught
            assert await runner.run_sync(str, 1, worker=worker) == "1"
    assert place.notes() == []


async def test_a_call_whose_caller_is_cancelled_while_it_waits_for_a_slot_never_runs(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1) as runner:
        handle = runner.submit(jobs.stuck, place.path, worker=worker)
        await told(place)
        waiting = runner.submit(jobs.note, place.path, "begun", worker=worker)
        await anyio.wait_all_tasks_blocked()
        waiting.cancel()
        await waiting.wait()
        place.release()
        assert await handle == "late"
        assert await runner.run_sync(str, 1, worker=worker) == "1"
    assert "begun" not in place.notes()


# rule 7
@pytest.mark.parametrize("heated", [False, True])
async def test_an_abandoned_call_holds_its_slot_until_it_has_really_ended(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall], heated: bool
) -> None:
    place = held_process_call()
    async with runner_of(worker, 1, grace=PATIENCE) as runner:
        if heated:
            await runner.run_sync(abs, -1, worker=worker)
        handle = runner.submit(jobs.linger, place.path, worker=worker)
        await told(place)
        handle.cancel()
        await handle.wait()
        await told(place, "noticed")
        second = runner.submit(jobs.note, place.path, "second", worker=worker)
        await anyio.wait_all_tasks_blocked()
        assert place.notes() == []
        place.release()
        await second
    assert place.notes() == [f"left {place.path}", "second"]


def _inside(places: list[HeldProcessCall]) -> list[HeldProcessCall]:
    return [place for place in places if place.has("inside")]


# rule 7
async def test_no_more_calls_run_at_once_than_there_are_slots(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    places = [held_process_call() for _ in range(4)]
    async with runner_of(worker, 2) as runner:
        handles = [runner.submit(jobs.stuck, each.path, worker=worker) for each in places]
        for opened in range(3):
            await brought(lambda: len(_inside(places)) >= min(opened + 2, 4))  # noqa: B023
            await anyio.wait_all_tasks_blocked()
            assert len(_inside(places)) == opened + 2
            next(each for each in _inside(places) if not each.has("opened")).release()
        for place in places:
            place.release()
        assert [await handle for handle in handles] == ["late"] * 4


# rule 8
async def test_a_late_result_is_dropped_in_silence(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
) -> None:
    place, heeding = held_process_call(), held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        for job, each in ((jobs.linger, place), (jobs.cooperative, heeding)):
            handle = runner.submit(job, each.path, worker=worker)
            await told(each)
            handle.cancel()
            await handle.wait()
            each.release()
        await brought(lambda: not runner.calls())
        assert place.has("left")
        assert heeding.has("left")
    assert caplog.records == []


# rule 8
@pytest.mark.parametrize("heated", [False, True])
async def test_a_late_error_is_logged_with_its_traceback(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    caplog: pytest.LogCaptureFixture,
    heated: bool,
) -> None:
    place = held_process_call()
    async with Runner(grace=PATIENCE) as runner:
        if heated:
            await runner.run_sync(abs, -1, worker=worker)
        handle = runner.submit(jobs.fail_late, place.path, worker=worker)
        await told(place)
        handle.cancel()
        await handle.wait()
        place.release()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    assert record.getMessage() == "fail_late failed after its caller had stopped waiting"
    assert 'raise LookupError("too late")' in caplog.text
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


# rule 10
async def test_calls_tells_what_is_running(
    worker: AnyWorker, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    before = time.monotonic()
    place, other = held_process_call(), held_process_call()
    async with Runner(grace=PATIENCE) as runner, Runner() as neighbour:
        assert runner.calls() == []
        handle = runner.submit(jobs.linger, place.path, worker=worker, name="first")
        neighbour.submit(jobs.stuck, other.path, worker=worker)
        pid = int(await told(place))
        await told(other)
        (info,) = runner.calls()
        assert (info.name, info.function, info.stopping) == ("first", "linger", False)
        assert 0 <= info.age <= time.monotonic() - before
        assert info.location == (f"process {pid}" if worker == "process" else None)
        assert (info.where is None) == (worker == "process")
        handle.cancel()
        await handle.wait()
        (info,) = runner.calls()
        assert info.stopping
        assert str(info).startswith("first (linger), ")
        place.release()
        other.release()
        await brought(lambda: not runner.calls())


async def test_many_calls_of_many_tasks_each_get_their_own_answer(worker: AnyWorker) -> None:
    got: dict[int, int] = {}

    async def ask(runner: Runner, number: int) -> None:
        for each in (number, -number):
            got[each] = await runner.run_sync(jobs.square, each, worker=worker)

    async with runner_of(worker, 2) as runner:
        for number in range(1, 200):
            runner.start_soon(ask, runner, number)
    assert got == {number: number * number for number in range(-199, 200) if number}


async def test_several_runners_and_one_in_another_thread_do_not_meddle(
    worker: AnyWorker,
    held_process_call: Callable[[], HeldProcessCall],
    anyio_backend: tuple[str, dict[str, Any]],
) -> None:
    places = [held_process_call() for _ in range(3)]
    name, options = anyio_backend

    async def main(place: HeldProcessCall) -> list[str]:
        results: list[str] = []
        async with runner_of(worker, 1) as runner:
            assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
            results.append(await runner.run_sync(jobs.stuck, place.path, worker=worker))
        return results

    async def open_all() -> None:
        for place in places:
            await told(place)
        for place in places:
            place.release()

    def elsewhere() -> list[str]:
        return anyio.run(main, places[0], backend=name, backend_options=options)

    async with anyio.create_task_group() as group:
        handles = [group.create_task(main(place)) for place in places[1:]]
        group.start_soon(open_all)
        assert await asyncrun.run_sync(elsewhere) == ["late"]
        assert [await handle for handle in handles] == [["late"], ["late"]]
