"""A signal at any moment of `run`, and threads that AnyIO or the system started or refused."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import BACKENDS, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

PARTS = 4
"""Children that share the lines, so that none of them takes long."""


# rules 13 and 14; the two signals differ in nothing that a backend does
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("backend", "signum"),
    [(name, signal.SIGINT) for name in BACKENDS] + [("asyncio", signal.SIGTERM)],
)
def test_a_signal_at_any_line_ends_the_program_by_it(
    start: Callable[..., Child], backend: str, signum: signal.Signals, tmp_path: Path, part: int
) -> None:
    share = str(part), str(PARTS)
    child = start(
        PROGRAMS / "signal_at_any_line.py", backend, str(int(signum)), str(tmp_path), *share
    )
    status, output, errors = child.finish()
    assert status == 0, errors
    word, lines = output.split(maxsplit=1)
    assert word == "lines", output
    assert int(lines) > 100


# rule 13
def test_a_signal_that_another_thread_gets_wakes_the_loop(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROGRAMS / "signal_to_a_thread.py", backend)
    status, _, errors = child.finish()
    assert status == -signal.SIGINT
    assert errors.splitlines()[0] == "asyncrun: interrupted by SIGINT"


def test_a_wake_up_descriptor_that_main_sets_is_left_in_place(start: Callable[..., Child]) -> None:
    child = start(
        """
import os, signal
import asyncrun

async def main():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    return writer

assert asyncrun.run(main) == signal.set_wakeup_fd(-1)
"""
    )
    assert child.finish() == (0, "", "")
