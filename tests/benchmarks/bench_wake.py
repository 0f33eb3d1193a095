"""From the stop to the last of 400 threads out: `StopToken.sleep` against `threading.Event.wait`.

Both sides are plain threads, so that nothing but the wake-up is measured: ours sleep at the token
of one source, the rival's wait for one event; each takes the time as soon as it is awake.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from asyncrun import Stopped, StopSource, stop_token
from asyncrun._core.current import current_token

from .measuring import Result, compare

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS: Final = 400
SETTLE: Final = 0.05
"""Seconds, not measured, in which the last thread falls asleep."""


def waking(*, quick: bool) -> list[Result]:
    """Measure the stop of one token that all threads sleep at."""
    name = f"stop, {THREADS} threads in stop_token().sleep"
    return [compare(name, token_sleep, event_wait, bar=1.0, times=9 if quick else 41)]


def token_sleep() -> float:
    """Wake threads that sleep at one token."""
    source = StopSource()

    def sleep() -> float:
        current_token.set(source.token)
        try:
            stop_token().sleep(60)
        except Stopped:
            return time.perf_counter()
        raise AssertionError("nobody woke it")

    return _last_one_out(sleep, source.stop)


def event_wait() -> float:
    """Wake threads that wait for one event."""
    event = threading.Event()

    def wait() -> float:
        event.wait(60)
        return time.perf_counter()

    return _last_one_out(wait, event.set)


def _last_one_out(sleep: Callable[[], float], wake: Callable[[], None]) -> float:
    out: list[float] = []
    ready = threading.Semaphore(0)

    def body() -> None:
        ready.release()
        out.append(sleep())

    threads = [threading.Thread(target=body) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        ready.acquire()
    time.sleep(SETTLE)
    start = time.perf_counter()
    wake()
    for thread in threads:
        thread.join()
    return max(out) - start
