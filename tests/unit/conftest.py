"""Threads in a known order, without sleeps: `spawn` and `interleave`.

`interleave` runs one function up to its k-th bytecode, does another thing just there, lets both
finish, and repeats this for every k. The other thing happens in the same thread, as in a signal
handler, or to its end (or until it waits for the first) in a second thread.
"""

from __future__ import annotations

import dis
import itertools
import linecache
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest

from asyncrun import StopToken
from asyncrun._core import call, registry, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PATIENCE: Final = 15.0
"""Seconds after which a test gives up; it only tells a hang from a slow machine."""

WAITS: Final = {
    StopToken.wait.__code__: ".acquire(timeout=",
    stop.StopCallback.__exit__.__code__: "_finished.acquire()",
}
"""The only two places of `_core.stop` that may block: the function, and what its line contains."""

TRACED: Final = {stop.__file__, registry.__file__, call.__file__}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "this takes too long"
        os.sched_yield()


def wait_lock_is_right(token: StopToken) -> bool:
    """Return whether the gate, if anybody has waited at it, is open just when the flag is set."""
    return all(gate.locked() is not token._set for gate in token._wait_lock.values())


class Task:
    """A function that runs in a thread of its own."""

    def __init__(self, func: Callable[[], object]) -> None:
        self._func = func
        self._result: object = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._func()
        except BaseException as exc:  # noqa: BLE001 - `finish` raises it
            self._error = exc

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def blocked(self) -> bool:
        """Whether it waits for a token to be set, or for a callback to return."""
        frame = registry.current_frames().get(self._thread.ident or 0)
        if frame is None or (text := WAITS.get(frame.f_code)) is None:
            return False
        return text in linecache.getline(frame.f_code.co_filename, frame.f_lineno)

    def settle(self) -> None:
        """Wait until it has ended or waits for somebody else."""
        wait_until(lambda: self.done or self.blocked)

    def finish(self) -> object:
        """Wait for its end; give its result or raise its error."""
        wait_until(lambda: self.done)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result


Spawn = Callable[[Callable[[], object]], Task]
Interleave = Callable[[Callable[[], "Scenario"], str], None]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread; at the end of the test all of these must have ended."""
    tasks: list[Task] = []

    def spawn(func: Callable[[], object]) -> Task:
        tasks.append(Task(func))
        return tasks[-1]

    yield spawn
    wait_until(lambda: all(task.done for task in tasks))


class Scenario(Protocol):
    """A fresh one is made for each point."""

    def first(self) -> object: ...
    def second(self) -> object: ...
    def check(self) -> None: ...


class _Probe:
    """Runs a function, and something else just before its ``point``-th bytecode."""

    def __init__(self, point: int, then: Callable[[], object], *, at_signals: bool) -> None:
        self._left = point
        self._then = then
        self._at_signals = at_signals
        self._last: tuple[FrameType | None, str] = (None, "")
        self.reached = False

    def disarm(self) -> None:
        self._left = -1

    def run(self, func: Callable[[], object]) -> object:
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # 3.12 wants it set before the next line
        sys.settrace(self._trace)
        try:
            return func()
        finally:
            sys.settrace(before)
            self._last = (None, "")

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in TRACED or self.reached:
            return None
        frame.f_trace = self._trace  # 3.13 wants it set before the next line
        frame.f_trace_opcodes = True
        if event == "opcode" and self._counts(frame):
            if self._left == 0:
                self.reached = True
                self._then()
            self._left -= 1
        return self._trace

    def _counts(self, frame: FrameType) -> bool:
        # CPython looks for signals where a function starts, after a call and on a jump back.
        last_frame, last = self._last
        self._last = frame, dis.opname[frame.f_code.co_code[frame.f_lasti]]
        return (
            not self._at_signals or last_frame is not frame or last.startswith(("CALL", "JUMP_B"))
        )


def _meet(scenario: Scenario, point: int, how: str) -> bool:
    """Return whether the first came to this point; it may end or wait for the second before."""
    resume = threading.Event()

    def pause() -> None:
        assert resume.wait(PATIENCE)

    then = pause if how == "thread" else scenario.second
    probe = _Probe(point, then, at_signals=how == "signal")
    first = Task(lambda: probe.run(scenario.first))
    wait_until(lambda: probe.reached or first.done or first.blocked)
    if waits := not (probe.reached or first.done):
        probe.disarm()
        scenario.second()
    elif how == "thread" and probe.reached:
        second = Task(scenario.second)
        second.settle()
        resume.set()
        second.finish()
    first.finish()
    if probe.reached or waits:
        Task(scenario.check).finish()
    return probe.reached


def _interleave(make: Callable[[], Scenario], how: str) -> None:
    points = next(point for point in itertools.count() if not _meet(make(), point, how))
    assert points > 1, "nothing was interrupted"


@pytest.fixture
def interleave() -> Interleave:
    return _interleave
