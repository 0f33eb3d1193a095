# pyright: basic
"""`ProcessPoolExecutor` against the standard library's, both with spawn; and how it kills."""

from __future__ import annotations

import concurrent.futures
import hashlib
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pebble
from joblib.externals import loky as vendored_loky

from asyncrun.futures import ProcessPoolExecutor
from tests.e2e.worker_programs import is_gone

from .measuring import Result, compare

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from multiprocessing.synchronize import Semaphore

loky: Any = vendored_loky.ProcessPoolExecutor

CALLS: Final = 2_000
ITEMS: Final = 20_000
WORKERS: Final = 2
STUCK: Final = 16
ALLOWED: Final = 0.1 + 0.01 * STUCK
"""Seconds in which so many processes that are stuck in C code are to be gone."""


def executing_in_processes(*, quick: bool) -> list[Result]:
    """Measure calls and items of warm processes, and the end of stuck ones."""
    rival = partial(
        concurrent.futures.ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn")
    )
    results: list[Result] = []
    with ProcessPoolExecutor(WORKERS) as mine, rival(WORKERS) as theirs:
        for executor in (mine, theirs):
            list(executor.map(time.sleep, [0.5] * WORKERS))  # so that each is there
        for name, sample, bar in (
            ("a call and its result", _call, 1.0),
            (f"{CALLS} calls at once", _calls, 1.0),
            (f"map of {ITEMS} items", _map, 1 / 3),
        ):
            results.append(
                compare(
                    f"ProcessPoolExecutor: {name}",
                    partial(sample, mine),
                    partial(sample, theirs),
                    bar=bar,
                    times=5 if quick else 15,
                )
            )
    name = f"ProcessPoolExecutor: {STUCK} calls stuck in C, cancelled"
    times = 3 if quick else 7
    results.append(compare(name, _kill, lambda: ALLOWED, bar=1.0, times=times))
    killed = results[-1].ours
    results.append(compare("the same; loky, shut down", _kill, _kill_loky, bar=None, times=times))
    # Once: it ends them one by one, and waits for 3 s before it sends SIGKILL to each.
    results.append(Result("the same; pebble", killed, _kill_pebble(), None))
    with ProcessPoolExecutor(WORKERS) as mine, _warm_others() as others:
        list(mine.map(time.sleep, [0.5] * WORKERS))
        for other, call in others.items():
            name = f"ProcessPoolExecutor: a call and its result; {other}"
            results.append(compare(name, partial(_call, mine), call, bar=None, times=times))
    return results


def _call(executor: concurrent.futures.Executor) -> float:
    return _timed(CALLS, lambda: sum(executor.submit(abs, -1).result() for _ in range(CALLS)))


def _calls(executor: concurrent.futures.Executor) -> float:
    def run() -> int:
        several = [executor.submit(abs, -1) for _ in range(CALLS)]
        return sum(future.result() for future in several)

    return _timed(CALLS, run)


def _map(executor: concurrent.futures.Executor) -> float:
    return _timed(ITEMS, lambda: sum(executor.map(_absolute, [-1] * ITEMS)))


def _absolute(number: int) -> int:
    return abs(number)


def _timed(count: int, run: Callable[[], int]) -> float:
    start = time.perf_counter()
    total = run()
    seconds = time.perf_counter() - start
    if total != count:
        raise RuntimeError("a result is missing")
    return seconds / count


_begun: list[Semaphore] = []


def _note(begun: Semaphore) -> None:
    _begun.append(begun)


def _derive(rounds: int) -> bytes:
    _begun[0].release()
    return hashlib.pbkdf2_hmac("sha256", b"a", b"b", rounds)


def _kill() -> float:
    begun = multiprocessing.get_context("spawn").Semaphore(0)
    with ProcessPoolExecutor(STUCK, initializer=_note, initargs=(begun,)) as executor:
        several = [executor.submit(_derive, 2**31 - 1) for _ in range(STUCK)]
        for _ in several:
            begun.acquire()
        time.sleep(0.1)  # the last one has yet to get from there into C
        start = time.perf_counter()
        for future in several:
            future.cancel()
        done, _ = wait(several)
        seconds = time.perf_counter() - start
        if executor._processes or len(done) != STUCK:
            raise RuntimeError("a process is left")
    return seconds


#
# Rivals beside the standard library
#


@contextmanager
def _warm_others() -> Generator[dict[str, Callable[[], float]]]:
    """Return what measures one call after the other in processes that are there."""
    spawn: Any = multiprocessing.get_context("spawn")
    with pebble.ProcessPool(WORKERS, context=spawn) as pool, loky(WORKERS) as executor:
        for future in [pool.schedule(time.sleep, args=(0.5,)) for _ in range(WORKERS)]:
            future.result()
        list(executor.map(time.sleep, [0.5] * WORKERS))

        def call_pebble() -> float:
            several = (pool.schedule(abs, args=(-1,)) for _ in range(CALLS // 10))
            return _timed(CALLS // 10, lambda: sum(future.result() for future in several))

        yield {"pebble": call_pebble, "loky": partial(_call, executor)}


def _derive_in(folder: str) -> bytes:
    Path(folder, str(os.getpid())).touch()
    return hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2**31 - 1)


def _kill_pebble() -> float:
    spawn: Any = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, pebble.ProcessPool(STUCK, context=spawn) as pool:
        several = [pool.schedule(_derive_in, args=(folder,)) for _ in range(STUCK)]
        cancels: list[Any] = [future.cancel for future in several]
        return _time_to_kill(folder, lambda: [cancel() for cancel in cancels])


def _kill_loky() -> float:
    with tempfile.TemporaryDirectory() as folder:
        executor = loky(STUCK)
        for _ in range(STUCK):
            executor.submit(_derive_in, folder)
        return _time_to_kill(folder, lambda: executor.shutdown(kill_workers=True))


def _time_to_kill(folder: str, kill: Callable[[], object]) -> float:
    """Wait until each process has begun, and return the seconds until all of them are gone."""
    while len(names := os.listdir(folder)) < STUCK:  # noqa: PTH208 - the names alone
        time.sleep(0.01)
    time.sleep(0.1)
    start = time.perf_counter()
    kill()
    while not all(is_gone(int(name)) for name in names):
        time.sleep(0.001)
    return time.perf_counter() - start
