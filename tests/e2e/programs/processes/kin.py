"""The same call in a worker process of ours, and in one of `multiprocessing`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import asyncrun
from asyncrun import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def by_multiprocessing(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(func, *args, **kwargs).result()


def by_asyncrun(func: Callable[..., T], *args: object) -> T:
    async def main() -> None:
        async with Runner(max_processes=1) as runner:
            results.append(await runner.run_sync(func, *args, worker="process"))

    results: list[T] = []
    asyncrun.run(main)
    return results[0]
