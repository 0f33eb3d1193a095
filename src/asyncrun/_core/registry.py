"""The registry of all running calls, and snapshots of them.

Rules of this module (rule 8):

- A call is listed from the moment a worker begins it to the moment the worker has really ended
  it, whether or not anybody still waits for it.
- Where calls run, and what is done with their results, is not known here.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, FrameType

    from .stop import StopToken

NO_LINE: Final = "no Python line"

STARTING: Final = "a worker that is being started"
"""Stands for the location of a call whose worker is not there yet."""


@final
@dataclass(frozen=True, slots=True)
class CallInfo:
    """A snapshot of one running call; `Runner.calls` gives a list of them.

    Attributes:
        name: The name given to `Runner.submit`, or else the function's.
        function: The function's qualified name.
        age: Seconds since the call began to run.
        where: The file and line that it is at, as ``file:line``: of the innermost frame that is
            not in the standard library. None if that cannot be known, as in a worker process.
        stopping: Whether it was asked to stop.
        state: ``"starting"`` while a worker is being started for it; else ``"running"``.
        location: What it runs in outside of this process, as in ``"process 4711"``; None for a
            call in a thread, and for one that is starting.
    """

    name: str
    function: str
    age: float
    where: str | None
    stopping: bool
    state: Literal["starting", "running"] = "running"
    location: str | None = None

    def __str__(self) -> str:
        title = self.name if self.name == self.function else f"{self.name} ({self.function})"
        location = STARTING if self.state == "starting" else self.location
        where = f"at {self.where or NO_LINE}" if location is None else f"in {location}"
        return f"{title}, {self.age:.1f} s, {where}"


class RunningCall(Protocol):
    """A call as the registry sees it.

    Attributes:
        token: Its stop flag.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
    """

    token: StopToken
    started: float
    thread: int

    @property
    def name(self) -> str:
        """The name by which its user knows it."""
        ...

    @property
    def function(self) -> str:
        """The name of what is called."""
        ...

    @property
    def owner(self) -> object:
        """The runner that it belongs to, if any."""
        ...

    def is_cooperative(self) -> bool:
        """Return whether the call is likely to end soon after it was asked to stop."""
        ...


class CallSource(Protocol):
    """Something that knows by itself which of its calls run."""

    def running_calls(self) -> list[RunningCall]:
        """Return those calls."""
        ...

    def is_busy(self) -> bool:
        """Return whether a thread runs one of them, or what goes with it."""
        ...


F = TypeVar("F", bound=Callable[..., Any])

_entry_code: Final[set[CodeType]] = set()


def user_code_entry(func: F) -> F:
    """Mark the function whose frame separates the user's frames from the worker's."""
    _entry_code.add(func.__code__)
    return func


running_calls: Final[dict[RunningCall, None]] = {}
"""Every single call of this process that has begun and not ended."""

_sources: Final[set[weakref.ref[CallSource]]] = set()


def register(source: CallSource) -> None:
    """Note something that knows calls of its own, as long as it lives."""
    # The callback is C code: a KeyboardInterrupt in one of Python would be printed and lost.
    _sources.add(weakref.ref(source, _sources.discard))


def all_running() -> list[RunningCall]:
    """Return every call of this process that has started and not ended."""
    calls = list(running_calls)
    for link in list(_sources):
        if (source := link()) is not None:
            calls += source.running_calls()
    return calls


def is_busy() -> bool:
    """Return whether a worker's thread is inside of users' code, and so may be stuck there."""
    links = [link() for link in list(_sources)]
    return bool(running_calls) or any(source is not None and source.is_busy() for source in links)


def _after_fork() -> None:
    """Forget what runs in threads that the child does not have; pools and maps register anew."""
    _sources.clear()
    here = threading.get_ident()
    for call in list(running_calls):
        if call.thread != here:
            running_calls.pop(call, None)


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing

entry_point_reports: Final[ContextVar[Callable[[], bool]]] = ContextVar(
    "asyncrun_announced", default=lambda: False
)
"""Tells whether the entry point is about to report what is left itself (rule 14)."""


def snapshot(calls: Iterable[RunningCall]) -> list[CallInfo]:
    """Describe those of the calls that are still running, the oldest first."""
    return [info_of(*each) for each in with_line(calls)]


def with_line(calls: Iterable[RunningCall]) -> list[tuple[RunningCall, float, str | None]]:
    frames = current_frames()
    now = time.monotonic()
    still = set(all_running())  # and not ended since
    return [
        (call, now - call.started, _line_of(call, frames))
        for call in sorted(calls, key=lambda call: call.started)
        if call in still
    ]


def _line_of(call: RunningCall, frames: dict[int, FrameType]) -> str | None:
    return user_line(frames.get(call.thread)) if location_of(call) is None else None


def location_of(call: RunningCall) -> str | None:
    """Return what a call runs in outside of this process: None, `STARTING` or a name."""
    location: str | None = getattr(call, "location", None)  # those in threads need not have it
    return location


_frames_lock: Final = threading.RLock()  # a signal handler may come in between


def current_frames() -> dict[int, FrameType]:
    """Do what `sys._current_frames` does, without its deadlock.

    It holds a lock of the interpreter while it makes objects. If that sets off a garbage
    collection, and what is collected wants the same lock (a `threading.local` does), the process
    stands still. It is so in CPython 3.11.7 (gh-106883); from 3.12 on nothing is collected there.
    """
    with _frames_lock:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return sys._current_frames()
        finally:
            if was_enabled:
                gc.enable()


def info_of(call: RunningCall, age: float, where: str | None) -> CallInfo:
    location = location_of(call)
    return CallInfo(
        name=call.name,
        function=call.function,
        age=age,
        where=where,
        stopping=call.token._set,
        state="starting" if location is STARTING else "running",
        location=None if location is STARTING else location,
    )


def user_line(frame: FrameType | None) -> str | None:
    """Return ``file:line`` of the innermost frame that is not in the standard library, nor ours."""
    line = None
    while frame is not None and frame.f_code not in _entry_code:
        file = frame.f_code.co_filename
        line = f"{file}:{frame.f_lineno}"
        if not _is_library(file):
            break
        frame = frame.f_back
    return line


_STDLIB: Final = os.__file__.removesuffix("os.py")
_OWN: Final = __file__.rpartition("_core")[0]


@lru_cache(maxsize=64)
def _is_library(file: str) -> bool:
    in_stdlib = file.startswith((_STDLIB, "<frozen ")) and "site-packages" not in file
    return in_stdlib or file.startswith(_OWN)
