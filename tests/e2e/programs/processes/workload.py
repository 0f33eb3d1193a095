"""Calls for worker processes. Tests also write its text into programs of their own."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

from common import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrun import Runner


def nap() -> None:
    time.sleep(1000)


def hold() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")  # with the GIL, for longer than anybody waits


def parents(stay: Callable[[], object], *command: str) -> None:
    """Start a process, say its id and this one's, and stay."""
    child = subprocess.Popen(command or ["sleep", "1000"])
    say(os.getpid(), child.pid)
    stay()


def double(number: int) -> int:
    return number * 2


async def work(runner: Runner, count: int = 1000) -> None:
    """Show that a runner's worker processes do everything as they should."""
    calls = [runner.submit(double, n, worker="process") for n in range(count // 10)]
    assert [await call for call in calls] == [2 * n for n in range(count // 10)]
    for n in range(count // 10):
        assert await runner.run_sync(double, n, worker="process") == 2 * n
    async with runner.map(double, range(count), worker="process") as results:
        assert [each async for each in results] == [2 * n for n in range(count)]
    say("all right")
