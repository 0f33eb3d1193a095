"""`examples/sqlite_interrupt.py`: an endless query, ended by a timeout and by a signal."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "sqlite_interrupt.py"


def test_a_timeout_ends_the_query(start: Callable[..., Child]) -> None:
    status, output, errors = start(EXAMPLE, "--timeout", "1").finish()
    assert (status, errors) == (0, "")
    assert output.splitlines() == [
        "the query is running",
        "the query was interrupted",
        "no answer within 1 s",
        "calls still running: 0",
    ]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_query_and_nothing_is_left_running(
    start: Callable[..., Child], signum: signal.Signals
) -> None:
    child = start(EXAMPLE, "--timeout", "600")
    child.expect("the query is running")
    child.send(signum)
    status, output, errors = child.finish()
    assert status == -signum, errors
    assert output == "the query was interrupted\n"
    assert errors == f"asyncrun: interrupted by {signum.name}\n"


def test_a_query_that_begins_after_the_stop_ends_too(start: Callable[..., Child]) -> None:
    child = start(PROGRAMS / "late_query.py", str(EXAMPLE))
    child.expect("ready")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert status == -signal.SIGINT, errors
    assert output == "the query is running\nthe query was interrupted\n"
    assert errors == "asyncrun: interrupted by SIGINT\n"
