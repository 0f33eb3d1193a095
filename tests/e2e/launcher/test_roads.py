"""Unchanged programs, each stuck by another road: one Ctrl-C ends them."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Final

import pytest

from tests.conftest import PATIENCE, POLL
from tests.e2e.worker_programs import is_gone

from .pseudo_terminal import CTRL_C

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pseudo_terminal import PseudoTerminal

HEAD: Final = """\
import threading, time

def stuck(*_):
    print("ready", flush=True)
    time.sleep(1000)

"""

THREADS: Final = {
    "submit, in a with block": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(2) as executor:
    executor.submit(stuck).result()
""",
    "as_completed": """
from concurrent.futures import ThreadPoolExecutor, as_completed
with ThreadPoolExecutor(1) as executor:
    for future in as_completed([executor.submit(stuck) for _ in range(3)]):
        future.result()
""",
    "the global of a module": """
import concurrent.futures as cf
POOL = cf.ThreadPoolExecutor(1)
POOL.submit(stuck).result()
""",
    "waited for at the end": """
import concurrent.futures
concurrent.futures.ThreadPoolExecutor(1).submit(stuck)
""",
    "a subclass": """
from abc import ABC
from concurrent.futures.thread import ThreadPoolExecutor
class Mine(ThreadPoolExecutor, ABC):
    def submit(self, fn, /, *args, **kwargs):
        return super().submit(fn, *args, **kwargs)
with Mine(1) as executor:
    list(executor.map(stuck, range(3)))
""",
    "a pool in a pool": """
from concurrent.futures import ThreadPoolExecutor
def outer():
    with ThreadPoolExecutor(1) as inner:
        inner.submit(stuck).result()
with ThreadPoolExecutor(1) as executor:
    executor.submit(outer).result()
""",
    "asyncio.to_thread": """
import asyncio
asyncio.run(asyncio.to_thread(stuck))
""",
    "run_in_executor, not awaited": """
import asyncio
async def main():
    asyncio.get_running_loop().run_in_executor(None, stuck)
    await asyncio.sleep(1000)
asyncio.run(main())
""",
    "a plain thread that is joined": """
thread = threading.Thread(target=stuck)
thread.start()
thread.join()
""",
    "a plain thread, at the end": """
threading.Thread(target=stuck).start()
""",
}
"""Those whose call is listed as left running."""

OTHERS: Final = {
    "anyio.to_thread, asyncio": """
import anyio, anyio.to_thread
async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, stuck)
anyio.run(main)
""",
    "anyio.to_thread, Trio": """
import anyio, anyio.to_thread
async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, stuck)
anyio.run(main, backend="trio")
""",
    "trio.to_thread": """
import trio
trio.run(trio.to_thread.run_sync, stuck)
""",
    "trio.to_thread, in a nursery": """
import trio
async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, stuck)
trio.run(main)
""",
    "multiprocessing.pool.ThreadPool": """
from multiprocessing.pool import ThreadPool
with ThreadPool(1) as pool:
    pool.map(stuck, [1])
""",
    "joblib, threading": """
import joblib
joblib.Parallel(2, backend="threading")(joblib.delayed(stuck)() for _ in range(1))
""",
    "forked processes": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1) as executor:
    executor.submit(stuck).result()
""",
    "forked processes, the global of a module": """
import concurrent.futures
POOL = concurrent.futures.ProcessPoolExecutor(1)
POOL.submit(stuck).result()
""",
    "forked processes, waited for at the end": """
import concurrent.futures
concurrent.futures.ProcessPoolExecutor(1).submit(stuck)
""",
    "spawned processes": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        executor.submit(stuck).result()
""",
    "multiprocessing.Pool": """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        pool.map(stuck, [1])
""",
    "a spawned child with a pool": """
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
def child():
    with ThreadPoolExecutor(1) as executor:
        executor.submit(stuck).result()
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    process.join()
""",
}


@pytest.mark.measured
@pytest.mark.parametrize("road", [*THREADS, *OTHERS])
def test_one_interrupt_ends_a_program_that_is_stuck(
    open_terminal: Callable[..., PseudoTerminal], road: str
) -> None:
    code = THREADS.get(road) or OTHERS[road]
    terminal = open_terminal(HEAD + code)
    terminal.expect("ready")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    lines = text.splitlines()
    assert status == -signal.SIGINT
    assert lines[:2] == ["ready", "asyncrun: interrupted by SIGINT"]
    assert all(line.startswith("asyncrun: left running: ") for line in lines[2:])
    if road in THREADS:
        assert any("stuck" in line and "program.py:5" in line for line in lines[2:])
    else:
        assert len(lines) == 2


def test_without_a_report_one_line_is_printed(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal(HEAD + THREADS["as_completed"], "--no-report")
    terminal.expect("ready")
    terminal.press(CTRL_C)
    assert terminal.finish().text.splitlines() == ["ready", "asyncrun: interrupted by SIGINT"]


PROCESSES: Final = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
def stuck():
    child = os.fork() or time.sleep(1000)
    print("pids", os.getpid(), child, "end", flush=True)
    time.sleep(1000)
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        executor.submit(stuck).result()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other kernel ends a group with its parent")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_processes_and_what_they_have_started_end_with_a_program_that_is_killed(
    open_terminal: Callable[..., PseudoTerminal], method: str, signum: int
) -> None:
    terminal = open_terminal(PROCESSES.format(method=method))
    terminal.expect("end")
    terminal.send(signum)
    status, text = terminal.finish()
    assert status == -signum
    assert text.startswith("pids ")
    assert text.count("\n") == 1
    pids = [int(word) for word in text.split() if word.isdigit()]
    assert len(pids) == 2
    deadline = time.monotonic() + PATIENCE
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline
        time.sleep(POLL)
