"""Calls with a timer or a post to the loop, under an entry point that AnyIO knows nothing of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child


# rule 26
def test_a_timeout_and_a_starved_call_work_under_asyncio_run(start: Callable[..., Child]) -> None:
    child = start(PROGRAMS / "under_asyncio_run.py")
    status, output, errors = child.finish()
    assert (status, output) == (0, "sleep took longer than 0.1 s\nstarved\n")
    waits, left = errors.splitlines()
    assert waits.startswith("<Runner>: int waits: every slot is held by a call that was asked to")
    assert left.startswith("<Runner>: left running: sleep, ")
