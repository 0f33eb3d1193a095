"""Cells of a Jupyter notebook: no guard, lambdas, and an interrupt that ends what they began."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.exhaustive

INTERRUPTED: Final = 0.5
"""Seconds in which an interrupted cell ends. Then the kernel formats the traceback."""

BEGIN = """
import os, subprocess, time
import anyio, asyncrun
from asyncrun import Runner, stop_token
from asyncrun.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

factor = 3

def nap(n):
    time.sleep(100)

def listen(n):
    stop_token().sleep(100)

def begun():
    'Wait until both calls have begun.'
    while [info.state for info in executor.calls()].count('running') < 2:
        time.sleep(0.01)
"""

WORKS = """
with ProcessPoolExecutor(2) as executor:
    print(list(executor.map(lambda n: n * factor, range(5))))
with ThreadPoolExecutor(2) as executor:
    print(list(executor.map(lambda n: n * factor, range(5))))
async with Runner() as runner:
    async with runner.map(lambda n: n * factor, range(5), worker="process") as results:
        print([each async for each in results])
"""

LEFT = """
from asyncrun._core.registry import all_running
print(len(all_running()), end=' ')
children = subprocess.run(['ps', '--ppid', str(os.getpid()), '-o', 'args='], capture_output=True)
print([line for line in children.stdout.decode().splitlines() if 'spawn_main' in line])
"""

SUBMIT = """
try:
    with EXECUTOR(2) as executor:
        futures = [executor.submit(CALL, n) for n in range(4)]
        begun()
        print("ready")
        next(as_completed(futures)).result()
finally:
    print(time.monotonic())
"""

MAP = """
try:
    with EXECUTOR(2) as executor:
        results = executor.map(CALL, range(4))
        begun()
        print("ready")
        list(results)
finally:
    print(time.monotonic())
"""

AWAIT = """
try:
    async with Runner(max_processes=1) as runner:
        await runner.run_sync(int, worker="process")
        calls = runner.submit(CALL, 1, worker="process"), runner.submit(listen, 2)
        while [info.location for info in runner.calls()].count(None) > 1:
            await anyio.sleep(0.01)
        print("ready")
        await calls[0]
finally:
    print(time.monotonic())
"""


def run(start: Callable[..., Child], *cells: str) -> list[dict[str, Any]]:
    """Run cells in a kernel of their own."""
    child = start(PROGRAMS / "notebook.py")
    status, output, errors = child.finish(json.dumps(cells))
    assert status == 0, errors
    return [json.loads(line) for line in output.splitlines()]


def check_interrupted(outcome: dict[str, Any], error: str) -> None:
    """Check that a cell ended by this error, in time and with nothing else to say."""
    assert outcome["error"] == error
    ready, ended = outcome["printed"].splitlines()
    assert ready == "ready"
    assert float(ended) - outcome["interrupted"] < INTERRUPTED


@pytest.mark.parametrize("executor", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_an_interrupt_ends_a_cell_on_an_executor_and_the_next_one_works(
    start: Callable[..., Child], executor: str
) -> None:
    cells = [
        cell.replace("EXECUTOR", executor).replace("CALL", call)
        for cell in (SUBMIT, MAP)
        for call in ("listen", "nap")
    ]
    begin, *interrupted, works, left = run(start, BEGIN, *cells, WORKS, LEFT)
    assert begin["error"] is None
    for outcome in interrupted:
        check_interrupted(outcome, "KeyboardInterrupt")
    assert works == {"printed": "[0, 3, 6, 9, 12]\n" * 3, "error": None, "interrupted": None}
    # Nothing can end a thread that does not listen.
    assert left["printed"] == f"{4 if executor == 'ThreadPoolExecutor' else 0} []\n"


def test_an_interrupt_ends_a_cell_that_awaits(start: Callable[..., Child]) -> None:
    cells = [AWAIT.replace("CALL", call) for call in ("listen", "nap")]
    begin, *interrupted, works, left = run(start, BEGIN, *cells, WORKS, LEFT)
    assert begin["error"] is None
    for outcome in interrupted:
        check_interrupted(outcome, "CancelledError")
    assert works == {"printed": "[0, 3, 6, 9, 12]\n" * 3, "error": None, "interrupted": None}
    assert left["printed"] == "0 []\n"
