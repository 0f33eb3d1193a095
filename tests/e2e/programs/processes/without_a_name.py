"""Call a function of a module ``tools``, and one of this program, which workers cannot import.

A test runs this text in forms that give a program no name.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import asyncrun
from asyncrun import Runner
from common import say

sys.path.insert(0, os.getcwd())  # noqa: PTH109 - a string
tools: Any = importlib.import_module("tools")


def double(number: int) -> int:
    return number * 2


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(tools.triple, 2, worker="process"))
        try:
            await runner.run_sync(double, 2, worker="process")
        except TypeError as exc:
            say(exc)
        say(await runner.run_sync(tools.triple, 3, worker="process"))


asyncrun.run(main)
