"""No orphans: rule 19, with parents that are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import all_gone, marked, numbers, program, show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

ORPHAN = 1.0
"""Seconds that a worker may outlive its parent: the promise of rule 19."""

IDLE = """
async def main():
    async with Runner(max_processes=2) as runner:
        await runner.run_sync(parents, int, worker="process")
        say("ready")
        await sleep_forever()
asyncrun.run(main, **run_options)
"""

BUSY = """
async def main():
    async with Runner(max_processes=2) as runner:
        for _ in range(2):
            runner.submit(parents, {stay}, worker="process")
asyncrun.run(main)
"""


def killed(child: Child, pids: list[int]) -> None:
    """Kill a program, and see that its processes are gone in time."""
    child.send(signal.SIGKILL)
    assert all_gone(pids, ORPHAN)
    status, _, errors = child.finish()
    assert (status, errors) == (-signal.SIGKILL, "")


# rule 19
def test_idle_workers_and_what_they_started_end_with_a_parent_that_is_killed(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    child = start(program(tmp_path, "", IDLE), backend)
    pids = numbers(child._line())
    child.expect()
    killed(child, pids)


# rule 19
@pytest.mark.parametrize("stay", ["nap", "hold", "stubborn"])
def test_calls_and_what_they_started_end_with_a_parent_that_is_killed(
    start: Callable[..., Child], tmp_path: Path, stay: str
) -> None:
    stubborn = """
def stubborn():
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)
    hold()
"""
    child = start(program(tmp_path, stubborn, BUSY.format(stay=stay)))
    pids = [pid for _ in range(2) for pid in numbers(child._line())]
    killed(child, pids)


# rule 19
def test_a_map_ends_with_a_parent_that_is_killed(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    item = """
def item(number):
    if number in (50, 51):
        parents(hold)
"""
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        async with runner.map(item, range(1000), worker="process", ordered=False) as results:
            async for _ in results:
                pass
asyncrun.run(main)
"""
    child = start(program(tmp_path, item, main))
    killed(child, [pid for _ in range(2) for pid in numbers(child._line())])


# rule 19
@pytest.mark.parametrize("stay", ["nap", "hold"])
def test_workers_that_import_the_main_module_end_with_a_parent_that_is_killed(
    start: Callable[..., Child], tmp_path: Path, stay: str
) -> None:
    importing = f"if __name__ == '__mp_main__':\n    parents({stay})"
    child = start(program(tmp_path, importing, BUSY.format(stay="nap")))
    killed(child, [pid for _ in range(2) for pid in numbers(child._line())])


# rule 19
def test_workers_that_run_an_initializer_end_with_a_parent_that_is_killed(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    workers = ProcessWorkers(2, initializer=parents, initargs=(hold,))
    async with Runner() as runner:
        for _ in range(2):
            runner.submit(nap, worker=workers)
asyncrun.run(main)
"""
    child = start(program(tmp_path, "", main))
    killed(child, [pid for _ in range(2) for pid in numbers(child._line())])


# rule 19
def test_workers_do_not_wait_for_another_program_that_their_parent_has_started(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = f"""
other = subprocess.Popen(["sleep", "1000"])
Path({str(tmp_path / "other")!r}).write_text(str(other.pid))
async def main():
    async with Runner(max_processes=2) as runner:
        await runner.run_sync(parents, int, worker="process")
        late = await anyio.open_process(["sleep", "1000"])
        with open({str(tmp_path / "other")!r}, "a") as file:
            file.write(f" {{late.pid}}")
        await runner.run_sync(parents, hold, worker="process")
asyncrun.run(main)
"""
    child = start(program(tmp_path, "", main))
    pids = [pid for _ in range(2) for pid in numbers(child._line())]
    others = numbers((tmp_path / "other").read_text())
    child.send(signal.SIGKILL)
    assert all_gone(pids, ORPHAN)
    assert not all_gone(others, 0)  # they are the program's own affair
    for pid in others:
        os.kill(pid, signal.SIGKILL)


# rule 19
def test_a_forked_child_of_the_parent_does_not_keep_its_workers(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        await runner.run_sync(parents, int, worker="process")
        if (pid := os.fork()) == 0:
            signal.pause()
        say(pid)
        await runner.run_sync(parents, hold, worker="process")
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, "", main), backend)
    pids = numbers(child._line())
    (forked,) = numbers(child._line())
    pids += numbers(child._line())
    child.send(signal.SIGKILL)
    gone = all_gone(pids, ORPHAN)
    alive = not all_gone([forked], 0)
    show(forked)
    os.kill(forked, signal.SIGKILL)
    assert gone
    assert alive


# rule 19
def test_nothing_is_left_of_a_program_that_is_killed_at_any_moment(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        say("ready")
        async with runner.map(double, range(10**9), worker="process") as results:
            async for _ in results:
                pass
asyncrun.run(main)
"""
    path = program(tmp_path, "", main)
    mark = f"ASYNCRUN_TEST_MARK={random.getrandbits(64)}"
    environment = os.environ | dict([mark.split("=")])
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    for attempt in range(8):
        child = start(path, env=environment)  # without coverage, which takes longer than that
        child.expect()
        time.sleep(random.uniform(0, 0.3 if attempt % 2 else 0.05))  # it is to be any moment
        child.send(signal.SIGKILL)
        begin = time.monotonic()
        while marked(mark):
            assert time.monotonic() < begin + ORPHAN
        status, _, errors = child.finish()
        assert (status, errors) == (-signal.SIGKILL, "")
