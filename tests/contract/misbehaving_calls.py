"""Calls for worker processes that make trouble there."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
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


def nap_at_tens(number: int) -> int:
    if number % 10 == 0:
        time.sleep(0.02)
    return os.getpid()


def big_if(slow: int, item: tuple[int, bytes]) -> tuple[int, int]:
    """Return at once, but for one item, whose result is larger than what a socket holds."""
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
    """Fork, and return from the call in the child, too."""
    if (child := os.fork()) == 0:
        return "the child"
    os.waitpid(child, 0)
    return "the parent"


def fork_and_stay() -> int:
    """Leave a child behind that holds what leads to the parent, and live on."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    return os.getpid()


def look_between_long_steps(path: Path) -> None:
    """Hold the GIL between two safe points for longer than a worker may take to say anything."""
    safe_point()
    path.with_name("ready").touch()
    try:
        while True:
            sum(range(10_000_000))
            safe_point()
    finally:
        path.write_text("cleaned up")


def hook_around_long_steps(path: Path) -> None:
    """Do so inside of a block that says how to be stopped, without a look."""
    stopped: list[None] = []
    with stop_token().on_stop(stopped.append, None):
        path.with_name("ready").touch()
        while not stopped:
            sum(range(10_000_000))
    path.write_text("cleaned up")


def look_and_sleep(_: int) -> None:
    safe_point()
    stop_token().sleep(60)


def arguments() -> list[str]:
    return sys.argv


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


class Loads:
    """A result that takes its time to unpickle, until it is let."""

    begun = threading.Event()
    let = threading.Event()

    def __reduce__(self) -> tuple[Any, ...]:
        return load, ()


def load() -> str:
    Loads.begun.set()
    assert Loads.let.wait(30)
    return "loaded"


def give_what_loads() -> object:
    return Loads()


def count(content: bytes) -> int:
    return len(content)


def exit_slowly(seconds: float) -> str:
    atexit.register(time.sleep, seconds)
    return "answered"


def hang_at_exit() -> None:
    atexit.register(threading.Event().wait)
