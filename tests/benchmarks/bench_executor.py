"""`ThreadPoolExecutor` against the standard library's: calls, items, memory, SIGINT."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Final

from asyncrun import futures

from .bench_interrupt import BARS, time_to_end
from .measuring import PYTHON, Result, compare, compiled_modules

CALLS: Final = 20_000
THREADS: Final = 8
POOLS: Final = 50
"""So many idle pools, for one is too small to be measured."""

PROGRAM: Final = Path(__file__).parent / "programs" / "executor.py"


def executing(*, quick: bool) -> list[Result]:
    """Measure calls, items, idle pools, and programs that are interrupted."""
    times = 5 if quick else 15
    results = [
        compare(
            name,
            partial(sample, futures.ThreadPoolExecutor),
            partial(sample, ThreadPoolExecutor),
            bar=bar,
            times=times,
        )
        for name, sample, bar in (
            (f"ThreadPoolExecutor: {CALLS} x submit, as_completed", _submit, 1.0),
            (f"ThreadPoolExecutor: map of {CALLS} items", _map, 1 / 3),
        )
    ]
    ours, rival = (_idle(kind) for kind in ("ours", "rival"))
    results.append(
        Result(f"ThreadPoolExecutor: memory of {POOLS} idle pools", ours, rival, 1.0, unit="B")
    )
    with compiled_modules() as environment:
        for job, (threads, bar) in itertools.product(("calls", "map"), BARS.items()):
            results.append(
                compare(
                    f"ThreadPoolExecutor: SIGINT, {threads} threads{' of a map' * (job == 'map')}",
                    partial(_time_to_end, environment, job, threads),
                    partial(_time_to_end, environment, job, 0),
                    bar=bar,
                    times=7 if quick else 25,
                )
            )
    return results


def _nothing(number: int) -> int:
    return number


def _submit(kind: type[ThreadPoolExecutor]) -> float:
    start = time.perf_counter()
    with kind(THREADS) as executor:
        futures = [executor.submit(_nothing, number) for number in range(CALLS)]
        total = sum(future.result() for future in as_completed(futures))
    return _checked(total, start)


def _map(kind: type[ThreadPoolExecutor]) -> float:
    start = time.perf_counter()
    with kind(THREADS) as executor:
        total = sum(executor.map(_nothing, range(CALLS)))
    return _checked(total, start)


def _checked(total: int, start: float) -> float:
    seconds = time.perf_counter() - start
    if total != sum(range(CALLS)):
        raise RuntimeError("a result is missing")
    return seconds / CALLS


def _time_to_end(environment: dict[str, str], job: str, threads: int) -> float:
    seconds, text = time_to_end((PYTHON, str(PROGRAM), str(threads), job), environment)
    if not text.endswith("\nKeyboardInterrupt\n") or text.count("Traceback") != 1:
        raise RuntimeError(f"wrong last words:\n{text}")
    return seconds


def _idle(kind: str) -> float:
    command = (PYTHON, "-m", __name__, kind)
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _grown(kind: type[ThreadPoolExecutor]) -> int:
    """Return how many bytes idle pools take, each of which has had all its threads at work."""

    def make() -> ThreadPoolExecutor:
        together = threading.Barrier(THREADS)
        executor = kind(THREADS)
        for future in [executor.submit(together.wait) for _ in range(THREADS)]:
            future.result()
        return executor

    warm = make()
    before = _resident()
    pools = [make() for _ in range(POOLS)]
    grown = _resident() - before
    for executor in (warm, *pools):
        executor.shutdown()
    return grown


if __name__ == "__main__":
    print(_grown(futures.ThreadPoolExecutor if sys.argv[1] == "ours" else ThreadPoolExecutor))
