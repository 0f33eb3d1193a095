"""The cost of a call, and of a safe point in it, against AnyIO's own."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.from_thread
import anyio.to_thread

import asyncrun

from .measuring import BACKENDS, Result, compare, compare_async, run_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LOOKS: Final = 2_000
CALLS: Final = 40
"""In one sample: short, so that what else the machine does meets both sides alike."""


def safe_point(*, quick: bool) -> list[Result]:
    """Measure a safe point inside a call, in a worker thread."""
    times = 50 if quick else 300
    return [run_on(backend, _safe_points, backend, times) for backend in ("asyncio", "trio")]


async def _safe_points(backend: str, times: int) -> Result:
    def inside() -> Result:
        return compare(
            f"safe_point() in a call: {backend}",
            partial(_time_each, asyncrun.safe_point),
            partial(_time_each, anyio.from_thread.check_cancelled),
            bar=0.25,
            times=times,
        )

    return await asyncrun.run_sync(inside)


def _time_each(look: Callable[[], None]) -> float:
    start = time.perf_counter()
    for _ in range(LOOKS // 5):  # the loop is not to be measured: a fifth of it is
        look()
        look()
        look()
        look()
        look()
    return (time.perf_counter() - start) / LOOKS


def run_sync(*, quick: bool) -> list[Result]:
    """Measure an empty call: with the module's function, and with a runner's method."""
    times = 60 if quick else 300
    return [
        run_on(backend, measure, backend, times)
        for measure in (_module_run_sync, _runner_run_sync)
        for backend in BACKENDS
    ]


async def _module_run_sync(backend: str, times: int) -> Result:
    async def ours() -> None:
        await asyncrun.run_sync(_nothing)

    return await _compare_calls(f"run_sync(noop): {backend}", ours, times)


async def _runner_run_sync(backend: str, times: int) -> Result:
    async with asyncrun.Runner() as runner:

        async def ours() -> None:
            await runner.run_sync(_nothing)

        return await _compare_calls(f"Runner.run_sync(noop): {backend}", ours, times)
    raise AssertionError("the runner was cancelled")


async def _compare_calls(name: str, ours: Callable[[], Awaitable[None]], times: int) -> Result:
    async def rival() -> None:
        await anyio.to_thread.run_sync(_nothing, abandon_on_cancel=True)

    async def time_each(call: Callable[[], Awaitable[None]]) -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            await call()
        return (time.perf_counter() - start) / CALLS

    our_sample, rival_sample = partial(time_each, ours), partial(time_each, rival)
    return await compare_async(name, our_sample, rival_sample, bar=1.25, times=times)


def _nothing() -> None:
    pass
