"""`examples/control_c.py`: two stuck threads, ended by a signal."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "control_c.py"
SLEEP = next(
    number
    for number, line in enumerate(EXAMPLE.read_text("utf-8").splitlines(), start=1)
    if "time.sleep(" in line
)


# rules 10, 11, 13 and 14
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_two_stuck_threads_end_by_the_signal_and_are_named(
    start: Callable[..., Child], backend: str, signum: signal.Signals
) -> None:
    child = start(EXAMPLE, "--backend", backend, encoding="utf-8")
    assert child.process.stdout is not None
    lines = {child.process.stdout.readline() for _ in range(2)}
    assert lines == {"Jack is waiting…\n", "Jill is waiting…\n"}
    child.send(signum)
    status, output, errors = child.finish()
    assert status == -signum, errors
    assert output == ""
    first, *calls = errors.splitlines()
    assert first == f"asyncrun: interrupted by {signum.name}"
    where = re.escape(f"{EXAMPLE}:{SLEEP}")
    left = r"asyncrun: left running: (\w+) \(wait\), \d+\.\d s, at "
    matches = [re.fullmatch(left + where, call) for call in calls]
    assert {match and match[1] for match in matches} == {"Jack", "Jill"}, errors
    assert len(calls) == 2


def test_a_backend_that_does_not_exist_is_a_usage_error(start: Callable[..., Child]) -> None:
    status, output, errors = start(EXAMPLE, "--backend", "twisted").finish()
    assert (status, output) == (2, "")
    assert "invalid choice: 'twisted'" in errors
