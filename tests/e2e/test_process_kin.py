"""A worker is to its functions what a child of `multiprocessing` is: rule 21."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_process_starts import python
from tests.e2e.worker_programs import PROCESSES, all_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child


# rules 18 and 21
@pytest.mark.parametrize("calls", ["None", "3"])
def test_what_is_in_the_buffers_of_open_files_is_written_at_the_end_of_a_worker(
    start: Callable[..., Child], tmp_path: Path, calls: str
) -> None:
    child = start(PROCESSES / "buffers_of_files.py", "asyncio", calls, cwd=tmp_path)
    child.expect()
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()
    assert child.finish() == (0, "left\n", "")
    assert (tmp_path / "initializer").read_text() == "first;"
    for name in ("module", "class", "closure", "cache", "other"):
        assert (tmp_path / name).read_text() == "1;2;3;", name
    assert (tmp_path / "local").read_text() == "1;2;"


# rule 21
def test_finalizers_threads_and_exit_handlers_have_the_order_that_multiprocessing_gives_them(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    folders = [tmp_path / "theirs", tmp_path / "ours"]
    for folder in folders:
        folder.mkdir()
    child = start(PROCESSES / "order_of_the_end.py", cwd=tmp_path)
    assert child.finish() == (0, "", "")
    theirs, ours = ((folder / "notes").read_text() for folder in folders)
    assert ours == theirs
    assert sorted(ours.split(";")) == [
        "",
        "exit handler",
        "finalizer -10",
        "finalizer 0",
        "finalizer 10",
        "thread",
        "weak reference",
    ]


# rule 19
@pytest.mark.parametrize("what", ["atexit.register({})", "util.Finalize(None, {}, exitpriority=1)"])
@pytest.mark.parametrize("leave", ["", "os.setpgid(0, os.getpgid(os.getppid()))"])
def test_a_worker_that_finalizes_ends_with_a_parent_that_is_killed(
    start: Callable[..., Child], what: str, leave: str
) -> None:
    child = start(PROCESSES / "stays_at_the_end.py", "asyncio", what.format("last"), leave)
    pids = numbers(child._line())
    child.send(signal.SIGKILL)
    assert all_gone(pids, 1.0)
    assert child.finish()[0] == -signal.SIGKILL


# rule 21
def test_a_worker_looks_like_a_child_of_multiprocessing(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "looks_like_a_child.py")
    said = """\
SpawnProcess-1 (1,) Boss
SpawnProcess-2 (2,) Boss
[]
SpawnProcess-3:1 (3, 1) SpawnProcess-3
"""
    assert child.finish() == (0, said, "")


# rule 21
def test_a_worker_of_a_daemonic_process_is_not_daemonic(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "child_of_a_daemon.py")
    assert child.finish() == (0, "False\n", "")


# rule 21
def test_shared_memory_that_a_worker_makes_outlives_it(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "makes_shared_memory.py")
    assert child.finish() == (0, "b'abc'\n", "")


# rule 21
@pytest.mark.parametrize(
    "form",
    [
        ["-m", "pdb", "{}"],
        ["-m", "pdb", "-m", "program"],
        ["-m", "coverage", "run", "{}"],
        ["-c", "import runpy; runpy.run_path({!r}, run_name='__main__')"],
        ["run.py"],
    ],
)
def test_the_main_module_may_be_run_by_another_program(
    start: Callable[..., Child], tmp_path: Path, form: list[str]
) -> None:
    # As IPython's %run does it; its module need not have a ``__spec__``.
    run = """
import sys, types
if __name__ == "__main__":
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = "program.py"
    del main.__spec__
    exec(open(main.__file__).read(), vars(main))
"""
    (tmp_path / "run.py").write_text(run)
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        say("it is", await runner.run_sync(double, 7, worker="process"))
asyncrun.run(main)
"""
    path = program(tmp_path, "", main)
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    args = [each.format(str(path)) for each in form]
    (tmp_path / "debug").write_text("continue\nquit\n")
    with (tmp_path / "debug").open() as commands:
        child = python(start, *args, cwd=tmp_path, env=environment, stdin=commands)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert "it is 14\n" in output
