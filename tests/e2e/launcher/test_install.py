"""`asyncrun.futures.install`, and what it means for classes, pools and child processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

pytestmark = pytest.mark.measured


def test_what_was_made_before_is_of_the_classes_that_take_their_place(
    start: Callable[..., Child],
) -> None:
    child = start("""
import concurrent.futures as cf
Old = cf.ThreadPoolExecutor
class OldSub(Old): pass
old, old_sub = Old(1), OldSub(1)
from asyncrun import futures
assert not isinstance(old, futures.ThreadPoolExecutor)
futures.install()
New = cf.ThreadPoolExecutor
futures.install()
assert cf.ThreadPoolExecutor is New
assert New is not Old and issubclass(New, (Old, futures.ThreadPoolExecutor))
from concurrent.futures.thread import ThreadPoolExecutor
assert ThreadPoolExecutor is New
class Sub(New): pass
assert isinstance(old, New) and isinstance(old_sub, New) and issubclass(OldSub, New)
assert isinstance(Sub(1), Sub) and isinstance(Sub(1), New) and issubclass(Sub, New)
assert not isinstance(old, Sub) and not issubclass(Old, Sub) and not isinstance(3, New)
assert Sub(1).submit(abs, -1).result() == 1
assert list(New(2, "name", print, ("init",)).map(abs, [-1, 2])) == [1, 2]
""")
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert set(output.split()) == {"init"}


PROCESSES = """
import multiprocessing, os, sys, time
from asyncrun import futures
import concurrent.futures.process
futures.install()
from concurrent.futures import ProcessPoolExecutor, BrokenExecutor
assert ProcessPoolExecutor is concurrent.futures.process.ProcessPoolExecutor
STATE = []

def initialize(what):
    STATE.append(what)

def state(_=None):
    return STATE

class Mine(ProcessPoolExecutor):
    def submit(self, fn, /, *args, **kwargs):
        return super().submit(fn, *args, **kwargs)

if __name__ == "__main__":
    STATE.append("inherited")
    context = multiprocessing.get_context(sys.argv[1])
    inherits = sys.argv[1] == "fork"
    with ProcessPoolExecutor(2, context, initialize, ("initialized",)) as executor:
        got = executor.submit(state).result()
        assert got == (["inherited"] if inherits else []) + ["initialized"], got
        assert list(executor.map(state, range(3), chunksize=2)) == [got] * 3
        assert os.getpid() not in executor._processes
        assert len(executor._processes) in (1, 2)
        assert "ProcessPoolExecutor" in repr(executor)
    with Mine(1, mp_context=context) as executor:
        assert executor.submit(abs, -2).result() == 2
    try:
        with ProcessPoolExecutor(1, context) as executor:
            future = executor.submit(time.sleep, 1000)
            raise KeyError("left")
    except KeyError:
        assert future.done()
    executor = ProcessPoolExecutor(1, context)
    executor.submit(abs, 1).result()
    executor.kill_workers() if sys.version_info < (3, 14) else executor.stop()
    try:
        executor.submit(abs, 1)
    except RuntimeError:
        print("shut down")
    try:
        ProcessPoolExecutor(1, context, initializer=3)
    except TypeError as error:
        print(error)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_pool_works_by_every_start_method(
    start: Callable[..., Child], tmp_path: Path, method: str
) -> None:
    (tmp_path / "program.py").write_text(PROCESSES)
    child = start(tmp_path / "program.py", method)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert output == "shut down\ninitializer must be a callable\n"


@pytest.mark.parametrize("only", ["threads", "processes"])
def test_only_one_kind_of_executors_may_be_replaced(
    start: Callable[..., Child], tmp_path: Path, only: str
) -> None:
    (tmp_path / "program.py").write_text("""
import concurrent.futures as cf
for name in ("ThreadPoolExecutor", "ProcessPoolExecutor"):
    print("asyncrun" in getattr(cf, name).__module__)
""")
    command = ["--only", only, "--grace", "0.5", "--exit-timeout", "3", "program.py"]
    code = "from asyncrun._program.launcher import console; console()"
    child = start(code, *command, cwd=tmp_path)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert output.split() == [str(only == "threads"), str(only == "processes")]


def test_a_spawned_child_has_the_same_in_place(start: Callable[..., Child], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("""
import concurrent.futures, multiprocessing
def child():
    print("asyncrun" in concurrent.futures.ThreadPoolExecutor.__module__, flush=True)
    raise KeyboardInterrupt
if __name__ == "__main__":
    from asyncrun.futures import install
    install()
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
    print(process.exitcode)
""")
    assert start(tmp_path / "program.py").finish() == (0, "True\n1\n", "")


def test_the_default_executor_of_asyncio_is_replaced(start: Callable[..., Child]) -> None:
    child = start("""
import asyncio
from asyncrun import futures, stop_token
futures.install()

async def main():
    with_timeout = asyncio.wait_for(asyncio.to_thread(lambda: stop_token().wait(30)), 0.05)
    try:
        await with_timeout
    except TimeoutError:
        print("timed out")

asyncio.run(main())
""")
    assert child.finish() == (0, "timed out\n", "")


UNFINISHED = {
    "a pool that is not shut down": """
import concurrent.futures
POOL = concurrent.futures.ProcessPoolExecutor(1)
print(POOL.submit(abs, -1).result())
""",
    "work of processes": """
import concurrent.futures, time
def work():
    time.sleep(0.2)
    print(1, flush=True)
POOL = concurrent.futures.ProcessPoolExecutor(1)
POOL.submit(work)
""",
    "work of threads": """
import concurrent.futures, time
POOL = concurrent.futures.ThreadPoolExecutor(1)
POOL.submit(lambda: (time.sleep(0.2), print(1, flush=True)))
""",
    "a plain thread that uses a pool": """
import concurrent.futures, threading, time
POOL = concurrent.futures.ThreadPoolExecutor(1)
begun = threading.Event()
def call():
    begun.set()
    time.sleep(0.2)
    return 1
threading.Thread(target=lambda: print(POOL.submit(call).result())).start()
begun.wait()
""",
    "a thread that waits for the main thread": """
import threading
threading.Thread(target=lambda: (threading.main_thread().join(), print(1))).start()
""",
}


@pytest.mark.parametrize("case", UNFINISHED)
def test_what_finishes_under_python_finishes_here(
    start: Callable[..., Child], tmp_path: Path, case: str
) -> None:
    (tmp_path / "program.py").write_text(UNFINISHED[case])
    code = "from asyncrun._program.launcher import console; console()"
    assert start(code, "program.py", cwd=tmp_path).finish() == (0, "1\n", "")
