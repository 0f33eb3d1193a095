"""Call a function of a module ``tools``, and one of this program, which workers cannot import.

A test runs this text in forms that give a program no name, with and without cloudpickle.
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


class Box:
    def __init__(self, number: int) -> None:
        self.number = number


class BoxError(Exception):
    pass


def double(box: Box) -> Box:
    if box.number < 0:
        raise BoxError(box)
    return Box(box.number * 2)


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(tools.triple, 2, worker="process"))
        try:
            box = await runner.run_sync(double, Box(2), worker="process")
            say(type(box) is Box, box.number)
            await runner.run_sync(double, Box(-1), worker="process")
        except BoxError as exc:
            say(exc.args[0].number)
        except TypeError as exc:
            say(exc)
        say(await runner.run_sync(tools.triple, 3, worker="process"))


asyncrun.run(main)
