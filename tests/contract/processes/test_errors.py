"""Worker processes: what cannot be sent, what fails there, and what dies: rule 20."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrun import ProcessWorkers, Runner, WorkerDied
from tests.contract import fragile, jobs
from tests.contract.conftest import PATIENCE, brought, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


# rule 20
async def test_what_cannot_be_sent_is_an_error_of_that_call_alone() -> None:
    sticky = fragile.Sticky()
    wrong: list[tuple[Callable[..., object], object, str]] = [
        (lambda: sticky, 1, r"<lambda> cannot be pickled: .*I stay"),
        (
            fragile.identity,
            fragile.Sticky(),
            r"^an argument of identity\(\) cannot be pickled: .*I stay",
        ),
        (
            fragile.identity,
            fragile.Brittle(),
            r"^an argument of identity\(\) cannot be unpickled: ",
        ),
        (fragile.give_sticky, 1, r"^the result of give_sticky\(\) cannot be pickled: .*stay here"),
        (fragile.give_brittle, 1, r"^the result of give_brittle\(\) cannot be unpickled: "),
        (
            fragile.raise_sticky,
            1,
            r"^the StickyError that raise_sticky\(\) raised cannot be pickled",
        ),
    ]
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(jobs.pid_of, worker="process")
        for func, arg, message in wrong:
            with pytest.raises(TypeError, match=message):
                await runner.run_sync(func, arg, worker="process")
            with pytest.raises(TypeError, match=message):
                await runner.run_sync(partial(func), arg, worker="process")
            # The slot is free, and the process is the same.
            with anyio.fail_after(PATIENCE / 3):
                assert await runner.run_sync(jobs.pid_of, worker="process") == pid
            with pytest.raises(TypeError, match=message):
                async with runner.map(func, [arg], worker="process") as results:
                    await anext(results)
            assert await runner.run_sync(jobs.square, 3, worker="process") == 9
        assert await runner.run_sync(jobs.pid_of, worker="process") == pid


# rule 20
async def test_what_cannot_be_sent_costs_no_other_item() -> None:
    items = [*range(50), fragile.Sticky(), *range(50)]
    async with Runner(max_processes=2) as runner:
        async with runner.map(
            fragile.identity, items, worker="process", return_exceptions=True
        ) as results:
            got = [result async for result in results]
        assert isinstance(got[50], TypeError)
        assert got[50].__notes__[0].startswith("item 50 of the map: <")
        assert got[:50] == got[51:] == list(range(50))
        async with runner.map(
            fragile.give_sticky_at_three, range(100), worker="process", return_exceptions=True
        ) as results:
            got = [result async for result in results]
        assert isinstance(got[3], TypeError)
        assert got[3].__notes__ == ["item 3 of the map: 3"]
        assert [*got[:3], *got[4:]] == [*range(3), *range(4, 100)]


# rule 20
async def test_an_error_arrives_as_itself_with_its_notes_and_its_traceback() -> None:
    async with Runner(max_processes=1) as runner:
        with pytest.raises(fragile.FussyError, match=r"^code 7") as fussy:
            await runner.run_sync(fragile.fuss, 7, worker="process")
        assert (fussy.value.code, fussy.value.hint) == (7, "look here")
        assert fussy.value.__notes__ == ["a note from there"]
        async with runner.map(fragile.fuss, [7], worker="process") as results:
            with pytest.raises(fragile.FussyError) as fussy:
                await anext(results)
        assert fussy.value.__notes__ == ["a note from there", "item 0 of the map: 7"]
        with pytest.raises(ValueError, match="the second") as caught:
            await runner.run_sync(fragile.deep_fail, worker="process")
        text = "".join(traceback.format_exception(caught.value))
        for line in (
            "raise LookupError(text)",
            'raise ValueError("the second") from exc',
            "jobs.py",
            "fragile.py",
        ):
            assert line in text
        remote = str(caught.value.__cause__)
        assert "child/main.py" not in remote  # nothing of ours


DEATHS = {"exit": (3, None), "SIGSEGV": (None, 11), "SIGKILL": (None, 9), "SIGTERM": (None, 15)}


@pytest.mark.parametrize("how", DEATHS)
async def test_a_process_that_dies_under_a_call_is_an_error_of_that_call_alone(how: str) -> None:
    async with Runner(max_processes=1) as runner:
        for warm in (False, True):
            pid = await runner.run_sync(jobs.pid_of, worker="process") if warm else None
            with pytest.raises(
                WorkerDied, match=r"^the worker process of die \(process "
            ) as caught:
                await runner.run_sync(jobs.die, how, worker="process")
            assert (caught.value.status, caught.value.signum) == DEATHS[how]
            assert caught.value.name == "die"
            assert pid in {None, caught.value.pid}
            again = pickle.loads(pickle.dumps(caught.value))
            assert (str(again), again.status) == (str(caught.value), caught.value.status)
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9


async def test_a_process_that_is_killed_under_a_call_is_an_error_of_that_call(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    place = held_process_call()

    async def call(runner: Runner) -> None:
        with pytest.raises(WorkerDied, match="was killed by SIGKILL; is there memory enough"):
            await runner.run_sync(jobs.stuck, place.path, worker="process")

    async with Runner(max_processes=1) as runner:
        runner.start_soon(call, runner)
        os.kill(int(await told(place)), signal.SIGKILL)
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_process_that_dies_in_a_map_costs_one_item_and_none_runs_twice(
    held_process_call: Callable[[], HeldProcessCall], ordered: bool
) -> None:
    place = held_process_call()
    items = [(number, place.path) for number in range(40)]
    async with Runner(max_processes=2) as runner:
        async with runner.map(
            jobs.exit_at, items, worker="process", return_exceptions=True, ordered=ordered
        ) as results:
            got = [result async for result in results]
        died = [result for result in got if isinstance(result, WorkerDied)]
        values = [result for result in got if isinstance(result, int)]
        assert len(died) == 4
        assert {(error.status, error.name) for error in died} == {(3, "exit_at")}
        assert sorted(values) == [number for number in range(40) if number % 10 != 7]
        assert not ordered or [n for n, result in enumerate(got) if result in died] == [
            7,
            17,
            27,
            37,
        ]
        assert sorted(map(int, place.notes())) == list(range(40))
        assert (results.started, results.done, results.failed) == (40, 40, 4)
        notes = sorted(error.__notes__[0].split(" of ")[0] for error in died)
        assert notes == ["item 17", "item 27", "item 37", "item 7"]
        async with runner.map(jobs.exit_at, items[:10], worker="process") as results:
            with pytest.raises(WorkerDied, match="exit_at"):
                async for _ in results:
                    pass


async def test_a_late_death_is_dropped_in_silence(
    held_process_call: Callable[[], HeldProcessCall], caplog: pytest.LogCaptureFixture
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1, grace=PATIENCE) as runner:
        handle = runner.submit(jobs.stuck, place.path, worker="process")
        await told(place)
        handle.cancel()
        await handle.wait()
        assert await runner.run_sync(jobs.square, 3, worker="process") == 9
    assert caplog.records == []


async def test_a_child_that_a_call_has_forked_answers_nothing(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    place = held_process_call()
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(jobs.fork_and_return, place.path, worker="process")
        assert pid == await runner.run_sync(jobs.pid_of, worker="process")
        await brought(lambda: not jobs.is_alive(int(place.read("child"))))


async def test_numbers_out_of_range_and_unknown_workers_are_refused() -> None:
    options: Any
    for options in ({"max_processes": 0}, {"max_processes": 1.5}):
        with pytest.raises(ValueError, match="max_processes must be"):
            Runner(**options)
    for options in ({"max_workers": 0}, {"max_tasks_per_child": 0}, {"max_workers": 1.5}):
        with pytest.raises(ValueError, match=r"max_.* must be"):
            ProcessWorkers(**options)
    options = {"initializer": "text"}
    with pytest.raises(TypeError, match="initializer"):
        ProcessWorkers(**options)
    options = {"worker": "cluster"}
    async with Runner() as runner:
        with pytest.raises(ValueError, match=r"'thread', 'process' or .*, was 'cluster'"):
            await runner.run_sync(str, **options)
