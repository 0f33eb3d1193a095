"""`Runner.map` against the pools: items per second, memory, idle time.

The rivals run in a thread of their own under a plain interpreter; ours in an event loop. All of
them give every result to one reader, which adds them up.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

import asyncrun

from .measuring import PYTHON, Result, compare_async, run_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ITEMS: Final = 50_000
FEW: Final = 2_000
"""For the rival that offloads each item by itself; it takes 200 us for one."""

THREADS: Final = 8
SLEEPS: Final = (200, 20, 0.05)
"""How many, in how many threads, each of how many seconds."""

MEBIBYTE: Final = 2**20


def mapping(*, quick: bool) -> list[Result]:
    """Measure the time for an empty item, the memory of a long stream, and threads that sleep."""
    times = 3 if quick else 11
    results = [
        run_on(backend, _compare_pools, backend, ordered, rival, times)
        for backend in ("asyncio", "trio")
        for ordered in (True, False)
        for rival in RIVALS
    ]
    return [
        *results,
        *(run_on(backend, _sleeps, backend, times) for backend in ("asyncio", "trio")),
        *(_memory(backend) for backend in ("asyncio", "trio")),
    ]


def _nothing(number: int) -> int:
    return number


async def _map(items: int, *, ordered: bool) -> float:
    start, total = time.perf_counter(), 0
    async with (
        asyncrun.Runner(max_threads=THREADS) as runner,
        runner.map(_nothing, range(items), ordered=ordered) as results,
    ):
        async for number in results:
            total += number
    return _checked(total, items, time.perf_counter() - start)


def _checked(total: int, items: int, seconds: float) -> float:
    if total != sum(range(items)):
        raise RuntimeError("a result is missing")
    return seconds / items


async def _executor_map() -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        total = sum(pool.map(_nothing, range(ITEMS)))
    return _checked(total, ITEMS, time.perf_counter() - start)


async def _pool_imap() -> float:
    start = time.perf_counter()
    with ThreadPool(THREADS) as pool:
        total = sum(pool.imap(_nothing, range(ITEMS)))
    return _checked(total, ITEMS, time.perf_counter() - start)


async def _task_group() -> float:
    start = time.perf_counter()
    limiter = anyio.CapacityLimiter(THREADS)
    numbers: list[int] = []

    async def call(number: int) -> None:
        numbers.append(await anyio.to_thread.run_sync(_nothing, number, limiter=limiter))

    async with anyio.create_task_group() as group:
        for number in range(FEW):
            group.start_soon(call, number)
    return _checked(sum(numbers), FEW, time.perf_counter() - start)


RIVALS: Final[dict[str, tuple[Callable[[], Awaitable[float]], float]]] = {
    "ThreadPoolExecutor.map": (_executor_map, 1 / 5),
    "task group of to_thread": (_task_group, 1 / 30),
    "ThreadPool.imap": (_pool_imap, 1.0),
}
"""Each rival, and the most that our time for an item may be of its."""


async def _compare_pools(backend: str, ordered: bool, rival: str, times: int) -> Result:
    sample, bar = RIVALS[rival]
    name = f"map, {'ordered' if ordered else 'unordered'}: {backend}, {rival}"
    ours = partial(_map, ITEMS, ordered=ordered)
    return await compare_async(name, ours, sample, bar=bar, times=times)


async def _sleeps(backend: str, times: int) -> Result:
    items, threads, seconds = SLEEPS

    async def ours() -> float:
        async with asyncrun.Runner(max_threads=threads) as runner:
            start = time.perf_counter()
            async with runner.map(time.sleep, [seconds] * items) as results:
                async for _ in results:
                    pass
            return time.perf_counter() - start
        raise AssertionError("the runner was cancelled")

    async def ideal() -> float:
        return items / threads * seconds

    name = f"map, {items} x sleep({seconds}), {threads} threads: {backend}"
    return await compare_async(name, ours, ideal, bar=1.1, times=times)


def _memory(backend: str) -> Result:
    """Compare how much more a million items need than 10,000 do with 30 MiB."""
    few, many = (_peak(backend, items) for items in (10_000, 1_000_000))
    name = f"map, memory of 1,000,000 items over 10,000: {backend}"
    return Result(name, max(many - few, 0), 30 * MEBIBYTE, 1.0, unit="B")


def _peak(backend: str, items: int) -> float:
    command = (PYTHON, "-m", __name__, backend, str(items))
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    anyio.run(partial(_map, int(sys.argv[2]), ordered=True), backend=sys.argv[1])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
