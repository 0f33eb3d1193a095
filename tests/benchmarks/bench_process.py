"""Worker processes against `anyio.to_process` and `ProcessPoolExecutor`; and how fast they end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import anyio.to_process

import asyncrun

from .measuring import BACKENDS, PYTHON, Result, compare_async, run_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

CALLS: Final = 100
"""In one sample: short, so that what else the machine does meets both sides alike."""

ITEMS: Final = 20_000
LOOKS: Final = 10_000
BIG: Final = 64 * 2**20
GONE_WITHIN: Final = 0.2
"""Seconds from the cancellation of a call to the end of its process, and of what it started."""

ORPHANS_GONE_WITHIN: Final = 1.0
PROGRAM: Final = Path(__file__).parent / "programs" / "orphan.py"


def processes(*, quick: bool) -> list[Result]:
    """Measure calls, items, large ones, and ends."""
    few, many = (3, 15) if quick else (9, 60)
    return [
        run_on("asyncio", _safe_points, many),
        *(run_on(backend, _round_trips, backend, many) for backend in BACKENDS),
        *(run_on(backend, _items, backend, few) for backend in BACKENDS),
        run_on("asyncio", _large, few),
        *(run_on("asyncio", _cancelled, call, few) for call in (_sleep, _keep_the_gil)),
        *(_orphans(state, 5 if quick else 20) for state in ("idle", "call", "gil")),
    ]


def _same(value: object) -> object:
    return value


async def _safe_points(times: int) -> Result:
    async with asyncrun.Runner(max_processes=1) as runner:

        async def ours() -> float:
            return await runner.run_sync(_time_a_look, worker="process")

        async def rival() -> float:
            return await runner.run_sync(_time_a_look)

        name = "process: safe_point(), against one in a thread"
        return await compare_async(name, ours, rival, bar=1.25, times=times)
    raise AssertionError("the runner was cancelled")


def _time_a_look() -> float:
    start = time.perf_counter()
    for _ in range(LOOKS):
        asyncrun.safe_point()
    return (time.perf_counter() - start) / LOOKS


async def _round_trips(backend: str, times: int) -> Result:
    async with asyncrun.Runner(max_processes=1) as runner:

        async def ours() -> None:
            assert await runner.run_sync(_same, 1, worker="process") == 1

        async def rival() -> None:
            assert await anyio.to_process.run_sync(_same, 1) == 1

        with _without_main_file():
            await rival()

        async def time_each(call: Callable[[], Awaitable[None]]) -> float:
            start = time.perf_counter()
            for _ in range(CALLS):
                await call()
            return (time.perf_counter() - start) / CALLS

        return await compare_async(
            f"process: run_sync(noop): {backend}",
            partial(time_each, ours),
            partial(time_each, rival),
            bar=1.0,
            times=times,
        )
    raise AssertionError("the runner was cancelled")


@contextmanager
def _without_main_file() -> Generator[None]:
    """Start a worker of `anyio.to_process`, which cannot import what was run by ``python -m``."""
    main = vars(sys.modules["__main__"])
    file = main.pop("__file__")
    try:
        yield
    finally:
        main["__file__"] = file


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


async def _items(backend: str, times: int) -> Result:
    with _pool(2) as pool:
        async with asyncrun.Runner(max_processes=2) as runner:

            async def ours() -> float:
                start = time.perf_counter()
                async with runner.map(_same, range(ITEMS), worker="process") as results:
                    numbers = [number async for number in results]
                return _checked(numbers, start)

            async def rival() -> float:
                start = time.perf_counter()
                return _checked(list(pool.map(_same, range(ITEMS))), start)

            name = f"process: map of {ITEMS} items: {backend}"
            return await compare_async(name, ours, rival, bar=1 / 3, times=times)
    raise AssertionError("the runner was cancelled")


def _checked(numbers: list[object], start: float) -> float:
    seconds = time.perf_counter() - start
    if numbers != list(range(ITEMS)):
        raise RuntimeError("a result is missing")
    return seconds / ITEMS


async def _large(times: int) -> Result:
    content = os.urandom(BIG)
    with _pool(1) as pool:
        async with asyncrun.Runner(max_processes=1) as runner:

            async def ours() -> float:
                start = time.perf_counter()
                assert await runner.run_sync(_same, content, worker="process") == content
                return time.perf_counter() - start

            async def rival() -> float:
                start = time.perf_counter()
                assert pool.submit(_same, content).result() == content
                return time.perf_counter() - start

            name = "process: 64 MiB there and back"
            return await compare_async(name, ours, rival, bar=1.0, times=times)
    raise AssertionError("the runner was cancelled")


def _sleep(ready: Path) -> None:
    _start_one(ready)
    time.sleep(1000)


def _keep_the_gil(ready: Path) -> None:
    _start_one(ready)
    re.match(r"(a+)+$", "a" * 60 + "b")


def _start_one(ready: Path) -> None:
    pids = os.getpid(), subprocess.Popen(["sleep", "1000"]).pid
    ready.with_suffix(".new").write_text(" ".join(map(str, pids)))
    ready.with_suffix(".new").rename(ready)


async def _cancelled(call: Callable[[Path], None], times: int) -> Result:
    samples: list[float] = []
    async with asyncrun.Runner(max_processes=1) as runner:
        for _ in range(3 * times):
            with tempfile.TemporaryDirectory() as folder:
                ready = Path(folder, "ready")
                handle = runner.submit(call, ready, worker="process")
                pids = await runner.run_sync(_pids_in, ready)
                start = time.perf_counter()
                handle.cancel()
                await runner.run_sync(_wait_for_the_end_of, pids)
                samples.append(time.perf_counter() - start)
    name = f"process: cancelled to gone, {call.__name__[1:]}; the limit"
    return Result(name, median(samples), GONE_WITHIN, bar=1.0)


def _orphans(state: str, times: int) -> Result:
    """Measure the slowest of some ends: it must be within the limit every time."""
    samples = [_time_to_end_orphans(state) for _ in range(times)]
    name = f"process: parent killed to gone, {state}, slowest of {times}; the limit"
    return Result(name, max(samples), ORPHANS_GONE_WITHIN, bar=1.0)


def _time_to_end_orphans(state: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = (PYTHON, str(PROGRAM), state, str(Path(folder, "ready")))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            pids = [int(pid) for pid in child.stdout.readline().split()]
            assert pids
            start = time.perf_counter()
            child.send_signal(signal.SIGKILL)
            _wait_for_the_end_of(pids)
            return time.perf_counter() - start


def _pids_in(ready: Path) -> list[int]:
    while not ready.exists():
        time.sleep(0.001)
    return [int(pid) for pid in ready.read_text().split()]


def _wait_for_the_end_of(pids: list[int]) -> None:
    while not all(map(_is_gone, pids)):
        time.sleep(0.001)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
