"""Calls for worker processes that make trouble there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NoReturn

from asyncrun import safe_point, stop_token


def same(value: object) -> object:
    return value


def pid() -> int:
    return os.getpid()


def nap_if(slow: int, seconds: float, number: int) -> int:
    if number == slow:
        time.sleep(seconds)
    return number


def big_if(slow: int, item: tuple[int, bytes]) -> tuple[int, int]:
    """Be quick, but for one item, whose result is larger than what a socket holds."""
    number, _ = item
    if number == slow:
        time.sleep(0.5)
        return number, len(bytes(1 << 20))
    return number, 0


def fork_and_die(status: int) -> None:
    """Leave a child behind that holds what leads to the parent."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(status)


def fork_and_return() -> str:
    """Let a forked child come back from the call, too."""
    if (child := os.fork()) == 0:
        return "the child"
    os.waitpid(child, 0)
    return "the parent"


def clean_up_slowly(path: Path) -> None:
    safe_point()
    path.with_name("ready").touch()
    try:
        stop_token().sleep(60)
    finally:
        path.write_text(stop_token().reason or "none")


def touch_and_sleep(path: Path) -> None:
    path.touch()
    time.sleep(60)


def sleep_at(path: str) -> None:
    touch_and_sleep(Path(path))


def ignore_sigterm(path: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    path.write_text(str(subprocess.Popen(["sleep", "60"]).pid))
    time.sleep(60)


def take_long(seconds: float) -> None:
    time.sleep(seconds)


class Unloadable:
    """A function that cannot be unpickled."""

    def __call__(self, _: object) -> None:
        """Never run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> NoReturn:
    raise LookupError("not here")


class Exits:
    """An argument that ends the program when it is pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise SystemExit(3)


class BlocksLoading:
    """An argument that takes for ever to unpickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return touch_and_sleep, (self.path,)
