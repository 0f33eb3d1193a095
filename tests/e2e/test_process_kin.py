"""A worker is to its functions what a child of `multiprocessing` is: rule 21."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_process_starts import python
from tests.e2e.worker_programs import all_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

BOTH = """
import functools, multiprocessing, types, weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory, util

def by_multiprocessing(func, *args):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(func, *args).result()

def by_asyncrun(func, *args, **options):
    async def main():
        async with Runner(max_processes=1, **options) as runner:
            return await runner.run_sync(func, *args, worker="process")
    return asyncrun.run(main)
"""

FILES = """
folder = Path.cwd()
log = open(folder / "module", "w") if __name__ != "__main__" else None
local = threading.local()

class Holder:
    file = None

def first():
    Holder.first = open(folder / "initializer", "w")
    Holder.first.write("first;")

@functools.lru_cache
def cached():
    return open(folder / "cache", "w")

def closed_over():
    file = open(folder / "closure", "w")
    return lambda text: file.write(text)

def write(number):
    if Holder.file is None:
        Holder.file = open(folder / "class", "w")
        Holder.write = closed_over()
        local.file = open(folder / "local", "w")
        module = sys.modules["made"] = types.ModuleType("made")
        module.file = open(folder / "other", "w")
        signal.signal(signal.SIGUSR1, lambda *_: log)
    for each in (log, Holder.file, cached(), sys.modules["made"].file):
        each.write(f"{number};")
    if threading.current_thread() is threading.main_thread():
        local.file.write(f"{number};")
    Holder.write(f"{number};")

def heed():
    with stop_token().on_stop(write, 3):
        say("ready")
        stop_token().sleep(1000)
"""


# rules 18 and 21
@pytest.mark.parametrize("calls", ["None", "3"])
def test_what_is_in_the_buffers_of_open_files_is_written_at_the_end_of_a_worker(
    start: Callable[..., Child], tmp_path: Path, calls: str
) -> None:
    main = f"""
async def main():
    workers = ProcessWorkers(1, initializer=first, max_tasks_per_child={calls})
    async with Runner() as runner:
        await runner.run_sync(write, 1, worker=workers)
        await runner.run_sync(write, 2, worker=workers)
        call = runner.submit(heed, worker=workers)
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
    say("left")
asyncrun.run(main)
"""
    child = start(program(tmp_path, BOTH + FILES, main), cwd=tmp_path)
    child.expect()
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()
    assert child.finish() == (0, "left\n", "")
    assert (tmp_path / "initializer").read_text() == "first;"
    for name in ("module", "class", "closure", "cache", "other"):
        assert (tmp_path / name).read_text() == "1;2;3;", name
    assert (tmp_path / "local").read_text() == "1;2;"


ENDS = """
class Thing:
    pass

thing = Thing()

def note(folder, what):
    with open(folder + "/notes", "a") as file:
        file.write(what + ";")

def ends(folder):
    for priority in (0, 10, -10):
        util.Finalize(None, note, (folder, f"finalizer {priority}"), exitpriority=priority)
    util.Finalize(thing, note, (folder, "finalizer without"))
    weakref.finalize(thing, note, folder, "weak reference")
    atexit.register(note, folder, "exit handler")
    ended = threading.Event()
    threading.Thread(target=lambda: (ended.wait(0.3), note(folder, "thread"))).start()
"""


# rule 21
def test_finalizers_threads_and_exit_handlers_have_the_order_that_multiprocessing_gives_them(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    folders = [tmp_path / "theirs", tmp_path / "ours"]
    for folder in folders:
        folder.mkdir()
    main = "by_multiprocessing(ends, 'theirs')\nby_asyncrun(ends, 'ours')"
    child = start(program(tmp_path, BOTH + ENDS, main), cwd=tmp_path)
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
    start: Callable[..., Child], tmp_path: Path, what: str, leave: str
) -> None:
    functions = f"""
def last():
    say(os.getpid())
    nap()

def prepare():
    {leave or "pass"}
    {what.format("last")}
"""
    child = start(program(tmp_path, BOTH + functions, "by_asyncrun(prepare)"))
    pids = numbers(child._line())
    child.send(signal.SIGKILL)
    assert all_gone(pids, 1.0)
    assert child.finish()[0] == -signal.SIGKILL


LOOK = """
def look():
    here, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    say(here.name, here._identity, flush_of(parent))
    return {
        "kind": type(here).__name__, "daemon": here.daemon, "key": bytes(here.authkey),
        "parent": (type(parent).__name__, parent.name, parent.pid == os.getppid()),
        "lives": (parent.is_alive(), parent.join(0), here.is_alive(), here.pid == os.getpid()),
        "method": multiprocessing.get_start_method(), "children": multiprocessing.active_children(),
        "threads": threading.active_count(), "folder": os.getcwd(), "path": sys.path,
        "arguments": sys.argv, "main": sys.modules["__main__"].__name__,
        "file": sys.modules["__main__"].__file__, "input": sys.stdin.read(),
        "flags": tuple(sys.flags), "log": multiprocessing.get_logger().level,
    }

def flush_of(parent):
    return parent.name
"""


# rule 21
def test_a_worker_looks_like_a_child_of_multiprocessing(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
multiprocessing.current_process().name = "Boss"
multiprocessing.get_logger().setLevel(25)
theirs = by_multiprocessing(look)
ours = by_asyncrun(look)
say([(key, theirs[key], ours[key]) for key in theirs if theirs[key] != ours[key]])
assert not multiprocessing.active_children()
by_asyncrun(by_asyncrun, look)
"""
    child = start(program(tmp_path, BOTH + LOOK, main))
    said = """\
SpawnProcess-1 (1,) Boss
SpawnProcess-2 (2,) Boss
[]
SpawnProcess-3:1 (3, 1) SpawnProcess-3
"""
    assert child.finish() == (0, said, "")


# rule 21
def test_a_worker_of_a_daemonic_process_is_not_daemonic(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
process = multiprocessing.get_context("spawn").Process(target=nested, daemon=True)
process.start()
process.join()
"""
    nested = """
def nested():
    say(by_asyncrun(is_daemonic))

def is_daemonic():
    return multiprocessing.current_process().daemon
"""
    child = start(program(tmp_path, BOTH + nested, main))
    assert child.finish() == (0, "False\n", "")


# rule 21
def test_shared_memory_that_a_worker_makes_outlives_it(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    functions = """
def make():
    memory = shared_memory.SharedMemory(create=True, size=3)
    memory.buf[:3] = b"abc"
    memory.close()
    return memory.name
"""
    main = """
memory = shared_memory.SharedMemory(by_asyncrun(make))
say(bytes(memory.buf[:3]))
memory.close()
memory.unlink()
"""
    child = start(program(tmp_path, BOTH + functions, main))
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
    path = program(tmp_path, BOTH, "print('it is', by_asyncrun(double, 7), flush=True)")
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    args = [each.format(str(path)) for each in form]
    (tmp_path / "debug").write_text("continue\nquit\n")
    with (tmp_path / "debug").open() as commands:
        child = python(start, *args, cwd=tmp_path, env=environment, stdin=commands)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert "it is 14\n" in output
