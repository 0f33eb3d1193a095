"""From SIGINT to the process gone, with calls that do not look up, and with no calls at all."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from .measuring import BACKENDS, PYTHON, Result, compare, compiled_modules

PROGRAM: Final = Path(__file__).parent / "programs" / "interrupt.py"
BARS: Final = {5: 1.5, 100: 2.5}
SETTLE: Final = 0.05
"""Seconds, not measured, from a child's ``ready`` to the signal: its last thread falls asleep."""


def interrupt(*, quick: bool) -> list[Result]:
    """Measure each entry point, backend and number of threads."""
    results: list[Result] = []
    cases = itertools.product(("calls", "map"), ("run", "anyio"), BACKENDS, BARS.items())
    with compiled_modules() as environment:
        for job, entry, backend, (threads, bar) in cases:
            child = partial(time_to_die, environment, entry, backend, job)
            result = compare(
                f"SIGINT, {threads} threads{' of a map' * (job == 'map')}: {entry}, {backend}",
                partial(child, threads),
                partial(child, 0),
                bar=bar,
                times=7 if quick else 25,
            )
            results.append(result)
    return results


def time_to_die(
    environment: dict[str, str], entry: str, backend: str, job: str, threads: int
) -> float:
    """Interrupt one child and return the seconds until it is gone.

    Raises:
        RuntimeError: It did not start, or did not end as it should.
    """
    command = (PYTHON, str(PROGRAM), entry, backend, str(threads), job)
    seconds, text = time_to_end(command, environment)
    if entry == "run":
        check_last_words(text, threads, job)
    return seconds


def time_to_end(command: tuple[str, ...], environment: dict[str, str]) -> tuple[float, str]:
    """Interrupt a child that says ``ready``; return the seconds until it is gone, and its words.

    Raises:
        RuntimeError: It did not start, or did not end by the signal.
    """
    with (
        tempfile.TemporaryFile() as errors,
        # In a session of its own, as a shell's job is: else the handler waits for a repetition.
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
        ) as child,
    ):
        assert child.stdout is not None
        line = child.stdout.readline()
        time.sleep(SETTLE)
        start = time.perf_counter()
        os.kill(child.pid, signal.SIGINT)
        # Not `child.wait()`, which would look for a lock and then for the status twice.
        _, status = os.waitpid(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        text = errors.read().decode()
    if line != b"ready\n" or child.returncode != -signal.SIGINT:
        raise RuntimeError(f"{command} ended with {child.returncode}:\n{text}")
    return seconds, text


def check_last_words(text: str, threads: int, job: str) -> None:
    """Check that there is one line for the signal, and at most one for each call left running.

    Raises:
        RuntimeError: There is something else.
    """
    first, *lines = text.splitlines()
    named = all(line.startswith("asyncrun: left running: ") for line in lines)
    if first != "asyncrun: interrupted by SIGINT" or not named or len(lines) > threads:
        raise RuntimeError(f"wrong last words:\n{text}")
    if job == "calls" and bool(lines) != bool(threads):
        raise RuntimeError(f"{threads} calls were left running, but it says:\n{text}")
