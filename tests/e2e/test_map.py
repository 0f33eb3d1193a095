"""Endless maps in a program that is interrupted, at any moment."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS
from tests.e2e.snippets import LAST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

STUCK_LINE = "asyncrun: left running: item, "


@pytest.mark.parametrize("kind", ["empty", "short", "looking", "heeding", "stuck"])
@pytest.mark.parametrize("options", [["ordered"], ["async"]])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_an_endless_map_ends_it_at_once(
    start: Callable[..., Child],
    backend: str,
    kind: str,
    options: list[str],
    signum: signal.Signals,
) -> None:
    child = start(PROGRAMS / "endless_map.py", backend, kind, *options)
    child.expect()
    child.send(signum)
    status, _, errors = child.finish()
    assert status == -signum, errors
    first, *lines = errors.splitlines(keepends=True)
    assert first == LAST_LINE.replace("SIGINT", signum.name)
    assert all(line.startswith(STUCK_LINE) for line in lines)
    match kind:
        case "stuck":
            assert len(lines) == 4
        case "heeding":
            assert not lines
        case _:  # those that had just begun
            assert len(lines) <= 4
