"""Endless maps in a program that is interrupted, at any moment."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import HEAD, LAST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

PROGRAM = (
    HEAD
    + """
import itertools
KIND = sys.argv[2]
together = threading.Barrier(4, action=lambda: say("ready"))
def item(number):
    match KIND:
        case "stuck" if number >= 100:
            together.wait()
            time.sleep(60)
        case "heeding" if number >= 100:
            asyncrun.safe_point()
            together.wait()
            asyncrun.stop_token().sleep(60)
        case "looking":
            asyncrun.safe_point()
        case "short":
            time.sleep(0.0001)
    if number == 100:
        say("ready")
async def endless():
    for number in itertools.count():
        yield number
async def main():
    async with asyncrun.Runner(max_threads=4) as runner:
        items = endless() if "async" in sys.argv else itertools.count()
        async with runner.map(item, items, ordered="ordered" in sys.argv) as results:
            async for _ in results:
                pass
asyncrun.run(main, **run_options)
"""
)
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
    child = start(PROGRAM, backend, kind, *options)
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
