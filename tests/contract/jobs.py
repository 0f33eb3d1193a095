"""Calls that can be sent to another process, and how a test learns there how far they have come.

Worker processes import it: it needs little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from asyncrun import safe_point, stop_token

PATIENCE = 30.0


@dataclass(frozen=True)
class HeldProcessCall:
    """A directory in which a call and a test leave word for each other."""

    path: str

    def tell(self, word: str, text: str = "") -> None:
        """Leave word, with a text that is all there when the word is."""
        place = Path(self.path, word)
        draft = Path(self.path, f".{word}.{os.getpid()}")
        draft.write_text(text)
        draft.replace(place)

    def has(self, word: str) -> bool:
        return Path(self.path, word).exists()

    def read(self, word: str) -> str:
        return Path(self.path, word).read_text()

    def release(self) -> None:
        self.tell("opened")

    def wait_for(self, word: str) -> None:
        """Block until there is word, without ever looking at the flag."""
        deadline = time.monotonic() + PATIENCE
        while not self.has(word):
            assert time.monotonic() < deadline, "this takes too long"
            time.sleep(0.001)

    def note(self, line: str) -> None:
        """Add a line to what all calls have noted here."""
        fd = os.open(Path(self.path, "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)

    def notes(self) -> list[str]:
        return self.read("notes").split("\n")[:-1] if self.has("notes") else []


def enter(path: str) -> None:
    HeldProcessCall(path).tell("inside", str(os.getpid()))


def leave(path: str) -> None:
    """Leave word of how the flag is, without looking at it."""
    HeldProcessCall(path).note(f"left {path}")
    HeldProcessCall(path).tell("left", repr(stop_token()))


def stuck(path: str) -> str:
    """Block without ever looking at the flag."""
    enter(path)
    HeldProcessCall(path).wait_for("opened")
    leave(path)
    return "late"


def stubborn(path: str) -> str:
    """Do the same, and do not mind SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return stuck(path)


def look_once(path: str) -> str:
    safe_point()
    return stuck(path)


def cooperative(path: str) -> None:
    """Block at a safe point, and clean up when it is passed."""
    safe_point()
    enter(path)
    try:
        stop_token().sleep(PATIENCE)
    finally:
        leave(path)


def cooperative_by(item: tuple[str, str]) -> None:
    """End when asked to stop, in one of several ways."""
    way, path = item
    match way:
        case "safe_point":
            safe_point()
        case "is_set":
            stop_token().is_set()
        case "wait":
            stop_token().wait(0)
        case _:
            woken(path)
            return
    enter(path)
    assert stop_token().wait(PATIENCE)
    leave(path)


def linger(path: str) -> str:
    """Notice a stop, and take one's time to clean up."""
    safe_point()
    enter(path)
    assert stop_token().wait(PATIENCE)
    HeldProcessCall(path).tell("noticed")
    HeldProcessCall(path).wait_for("opened")
    leave(path)
    return "late"


def fail_late(path: str) -> NoReturn:
    linger(path)
    raise LookupError("too late")


def woken(path: str) -> str:
    """Wait for a callback."""
    with stop_token().on_stop(HeldProcessCall(path).tell, "opened"):
        return stuck(path)


def woken_and_linger(path: str) -> str:
    """Wait for a callback, then clean up slowly without it."""
    held_process_call = HeldProcessCall(path)
    with stop_token().on_stop(held_process_call.tell, "noticed"):
        enter(path)
        held_process_call.wait_for("noticed")
    held_process_call.tell("awake")
    held_process_call.wait_for("opened")
    leave(path)
    return "late"


def note(path: str, line: str) -> None:
    HeldProcessCall(path).note(line)


def look() -> tuple[str, bool]:
    """Pass a safe point and tell what the flag looks like."""
    safe_point()
    return repr(stop_token()), stop_token().is_set()


def look_at(_: int) -> tuple[str, bool]:
    return look()


def pid_of(_: object = None) -> int:
    return os.getpid()


def fail(text: str) -> NoReturn:
    raise LookupError(text)


class Alone(BaseException):
    """An error that is no `Exception`."""


def stop_myself(reason: str) -> NoReturn:
    from asyncrun import Stopped

    raise Stopped(reason)


def throw(error: BaseException) -> NoReturn:
    raise error


def square(number: int) -> int:
    return number * number


def square_after(path: str, number: int) -> int:
    """Take some time, and longer than it takes to say so."""
    enter(path)
    time.sleep(0.3)
    return number * number


def fraction_after(path: str, number: int) -> Fraction:
    """Do the same, and give what takes more than pickle's own code to unpickle."""
    return Fraction(square_after(path, number))


def square_of_even(number: int) -> int:
    if number % 3 == 1:
        raise LookupError(number)
    if number % 3 == 2:
        raise ValueError(number)
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise LookupError("it is three")
    return number


def noted_square(item: tuple[str, int]) -> int:
    """Note that an item has begun to run, and where."""
    path, number = item
    HeldProcessCall(path).note(f"{number}")
    return number * number


def visit(item: tuple[int, str]) -> int:
    """Block at those items that come with a place to do so."""
    number, path = item
    if path:
        stuck(path)
    return number


def dawdle(item: tuple[int, str]) -> int:
    """Sleep at a safe point at those items that come with a place to do so."""
    number, path = item
    if path:
        cooperative(path)
    return number


def fail_or_cooperate(item: tuple[str, str]) -> None:
    """Fail when let out, or sleep at a safe point."""
    what, path = item
    if what == "fail":
        stuck(path)
        raise LookupError("my own")
    cooperative(path)


def fail_or_stay(item: tuple[str, str]) -> None:
    what, path = item
    stuck(path)
    if what == "fail":
        raise LookupError("my own")


def fail_late_or_soon(item: tuple[str, str]) -> NoReturn:
    """Fail when told to, or when asked to stop and let out."""
    _, path = item
    safe_point()
    enter(path)
    while not stop_token().wait(0.001):
        if HeldProcessCall(path).has("now"):
            raise LookupError("my own")
    HeldProcessCall(path).tell("noticed")
    HeldProcessCall(path).wait_for("opened")
    raise LookupError("too late")


def exit_at(item: tuple[int, str]) -> int:
    """Note each item, and end the process at some."""
    number, path = item
    HeldProcessCall(path).note(str(number))
    if number % 10 == 7:
        os._exit(3)
    return number


def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.Signals[how])


def length(content: bytes) -> tuple[int, bytes]:
    """Take much and give as much."""
    return len(content), content[::-1]


def is_alive(pid: int) -> bool:
    """Return whether there is such a process, in this moment."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):  # it may end between the two
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def with_child(path: str, way: str) -> None:
    """Start a process, and block."""
    child = subprocess.Popen(["sleep", "1000"])
    HeldProcessCall(path).tell("child", str(child.pid))
    {"stuck": stuck, "cooperative": cooperative, "linger": linger}[way](path)


state: list[Any] = []


def remember(*values: object) -> None:
    """Initialize a process."""
    state.append(values)


def recall() -> list[Any]:
    return state


def surroundings() -> dict[str, object]:
    """Return what a process has."""
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgrp(),
        "stdin": os.read(0, 1),
    }


def fork_and_return(path: str) -> int:
    """Leave a forked child that goes on, as careless code does."""
    if os.fork() == 0:
        HeldProcessCall(path).tell("child", str(os.getpid()))
        return -1
    HeldProcessCall(path).wait_for("child")
    return os.getpid()


def talk(number: int) -> int:
    """Write where an answer would be spoilt if it went there."""
    os.write(1, b"noise\n")
    print("more noise", flush=True)
    return number


def hold_gil(path: str) -> int:
    """Block in C, so that no other thread of this process runs."""
    enter(path)
    return sum(range(10**12))
