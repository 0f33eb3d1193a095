"""A thousand calls that are cancelled, timed out, killed and failing: each has its own outcome."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from asyncrun import CallTimeoutError, Stopped, WorkerDied, safe_point
from asyncrun.futures import CancelledError, ProcessPoolExecutor, wait
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from asyncrun.futures import Future

CALLS = 1000


def work(number: int, seconds: float) -> int:
    """Take a while, with safe points; fail by some numbers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        safe_point()
    if number % 10 == 3:
        raise LookupError(number)
    return number


def check(number: int, future: Future[int]) -> str:
    """Return what the outcome of a call is; it must be its own."""
    try:
        assert future.result(0) == number
    except LookupError as error:
        return "own" if error.args == (number,) else "of another call"
    except (CancelledError, CallTimeoutError, Stopped, WorkerDied) as error:
        return type(error).__name__
    return "own"


def test_every_call_has_an_outcome_and_that_is_its_own() -> None:
    chance = random.Random(random.random())  # pytest-randomly makes it the same again
    with ProcessPoolExecutor(3, grace=0.5) as executor:
        limited = executor.options(timeout=0.01)
        several: list[Future[int]] = []
        for number in range(CALLS):
            what, seconds = chance.random(), chance.choice([0, 0, 0, 0.002, 0.02])
            submit = limited.submit if what < 0.1 else executor.submit
            several.append(submit(work, number, seconds))
            if what > 0.8:
                several[chance.randrange(max(0, number - 20), number + 1)].cancel()
            if number % 50 == 49:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice([*executor._processes]), signal.SIGKILL)
            if number % 20 == 19:
                wait([several[number - 10]], PATIENCE)
        assert not wait(several, PATIENCE).not_done
        seen = {check(number, future) for number, future in enumerate(several)}
    assert {"own", "CancelledError"} <= seen
    assert "of another call" not in seen
