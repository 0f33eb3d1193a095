"""`examples/crunch.py`: right numbers, and a quick end with nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, POLL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "crunch.py"


@pytest.mark.parametrize(
    ("limit", "primes"), [(0, 0), (2, 0), (3, 1), (100, 25), (1_000_000, 78_498)]
)
def test_it_counts_the_primes(start: Callable[..., Child], limit: int, primes: int) -> None:
    status, output, errors = start(EXAMPLE, str(limit)).finish()
    assert (status, output) == (0, f"{primes} primes below {limit}\n")
    assert ("100%" in errors) == (limit > 2)


def test_a_wrong_number_is_refused(start: Callable[..., Child]) -> None:
    status, output, errors = start(EXAMPLE, "--", "-5").finish()
    assert (status, output) == (2, "")
    assert errors.endswith("error: argument N: invalid natural value: '-5'\n")


# rule 18
def test_ctrl_c_ends_it_and_its_processes(start: Callable[..., Child]) -> None:
    child = start(EXAMPLE, str(10**12))
    workers = workers_of(child.process.pid, at_least=1)
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "")
    assert "Traceback" not in errors
    assert errors.endswith("asyncrun: interrupted by SIGINT\n")
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def workers_of(parent: int, at_least: int) -> list[int]:
    """Wait until a process has so many children that lead a process group; give their ids."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    deadline = time.monotonic() + PATIENCE
    while True:
        threads = Path(f"/proc/{parent}/task").glob("*/children")
        pids = [int(pid) for each in threads for pid in each.read_text().split()]
        pids = [pid for pid in pids if os.getpgid(pid) == pid]
        if len(pids) >= at_least:
            return pids
        assert time.monotonic() < deadline, f"no workers in {children}"
        time.sleep(POLL)
