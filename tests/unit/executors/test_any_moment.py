"""A KeyboardInterrupt may come at any line that a ThreadPoolExecutor runs in the main thread."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pytest

from asyncrun import stop_token
from asyncrun._core import batch
from asyncrun._core.current import token_by_thread
from asyncrun._executors import call, executor, thread
from asyncrun._executors.maps import submitted
from asyncrun._executors.pool import threads, wakers, work_item
from asyncrun.futures import ThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from types import FrameType, ModuleType

P = ParamSpec("P")
T = TypeVar("T")
PATIENCE = 30.0
MODULES: list[ModuleType] = [batch, thread, executor, call, work_item, threads, wakers, submitted]
FILES = {room.__file__ for room in MODULES}
# Called by the interpreter when something is gone: it prints what they raise, and goes on.
CALLBACKS = {executor._close.__code__}


def _submit() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert executor.submit(int).result(PATIENCE) == 0


def _cancel() -> None:
    inside = threading.Event()

    def cooperate() -> None:
        inside.set()
        stop_token().sleep(PATIENCE)

    with ThreadPoolExecutor(1) as executor:
        running, waiting = executor.submit(cooperate), executor.submit(int)
        assert inside.wait(PATIENCE)
        assert waiting.cancel()
        assert not running.cancel()


def _map() -> None:
    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(int, "12")) == [1, 2]
        results: Any = executor.map(int, "123", buffersize=1)
        with contextlib.closing(results):  # else it is closed where errors are lost
            assert next(results) == 1


class _Own(ThreadPoolExecutor):
    """Maps by its `submit`."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return super().submit(fn, *args, **kwargs)


def _map_submitted() -> None:
    with _Own(2) as executor:
        assert list(executor.map(int, "12", timeout=PATIENCE)) == [1, 2]
        results: Any = executor.map(int, "123", buffersize=1)
        with contextlib.closing(results):
            assert next(results) == 1


def _stop() -> None:
    inside = threading.Event()

    def cooperate(_: object) -> None:
        inside.set()
        stop_token().sleep(PATIENCE)

    with ThreadPoolExecutor(1) as executor:
        executor.map(cooperate, range(3))
        assert inside.wait(PATIENCE)
        executor.stop("enough")


class _Interrupt:
    """Raises a KeyboardInterrupt at the line with this number, in the modules of the executor."""

    def __init__(self, line: int) -> None:
        self._left = line
        self.has_come = False

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in FILES or _is_in_callback(frame):
            return None
        if event == "line" and not self.has_come:
            if self._left == 0:
                self.has_come = True
                raise KeyboardInterrupt
            self._left -= 1
        return self


def _is_in_callback(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename in FILES:
        if frame.f_code in CALLBACKS:
            return True
        frame = frame.f_back
    return False


def _interrupted(program: Callable[[], None], line: int) -> bool:
    # In a thread of its own: the trace leaves the thread's state with an exception in it, which
    # would be the context of the errors of all tests that follow.
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(_interrupted_here, program, line).result()


def _interrupted_here(program: Callable[[], None], line: int) -> bool:
    interrupt, before = _Interrupt(line), sys.gettrace()
    sys.settrace(interrupt)
    try:
        program()
    except KeyboardInterrupt:
        assert interrupt.has_come
    finally:
        sys.settrace(before)
    return interrupt.has_come


@pytest.mark.parametrize("program", [_submit, _cancel, _map, _map_submitted, _stop])
def test_an_interrupt_at_any_line_comes_out_and_leaves_no_thread(
    program: Callable[[], None],
) -> None:
    before = set(threading.enumerate())
    line, has_come = -1, True
    while has_come:
        line += 1
        has_come = _interrupted(program, line)
        deadline = time.monotonic() + PATIENCE
        while left := set(threading.enumerate()) - before:  # also those that just start
            assert time.monotonic() < deadline, f"interrupted at line {line}, {left} go on"
            os.sched_yield()
    assert line > 50
    assert threading.get_ident() not in token_by_thread
