"""What is running: the life of one blocking call, the registry of all, and the report.

Rules of this room (DESIGN.md, 7, 8 and 10):

- A call is known here from the moment a worker begins it to the moment the worker has really
  ended it, whether or not anybody still waits for it.
- Worker and waiter meet at two points, each decided by one atomic claim, so that a cancellation
  may come at any moment: does the call begin at all, or is it dropped? Who is the last to leave
  it, and so gives its slot back?
- Where calls run is the business of a `Worker`; this room knows only the protocol.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast, final

from ._errors import Stopped, WrongFunctionError
from ._stop import StopSource, is_async

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

    from ._stop import StopToken

T = TypeVar("T")

NO_LINE: Final = "no Python line"


@final
@dataclass(frozen=True, slots=True)
class CallInfo:
    """A snapshot of one running call; `Runner.calls` gives a list of them.

    Attributes:
        name: The name given to `Runner.submit`, or else the function's.
        function: The function's qualified name.
        age: Seconds since the call began to run.
        where: The file and line that it is at, as ``file:line``: of the innermost frame that is
            not in the standard library. None if that cannot be known.
        stopping: Whether it was asked to stop.
    """

    name: str
    function: str
    age: float
    where: str | None
    stopping: bool

    def __str__(self) -> str:
        title = self.name if self.name == self.function else f"{self.name} ({self.function})"
        return f"{title}, {self.age:.1f} s, at {self.where or NO_LINE}"


@final
class Call(Generic[T]):
    """One blocking call.

    The worker calls `begin` first and `end` last; the waiter calls `leave` when it stops waiting,
    with the result or without. Of `end` and `leave`, the one that comes second finds the call
    over, and must give its slot back.
    """

    __slots__ = (
        "_begun",
        "_over",
        "args",
        "error",
        "func",
        "function",
        "name",
        "owner",
        "source",
        "started",
        "thread",
    )

    def __init__(
        self,
        func: Callable[..., T],
        args: tuple[object, ...],
        *,
        name: str | None = None,
        owner: object = None,
        follow: StopToken | None = None,
    ) -> None:
        self.func = func
        self.args = args
        self.function = function_name(func)
        self.name = self.function if name is None else name
        self.owner = owner
        self.source = StopSource() if follow is None else StopSource(follow)
        self.started = 0.0
        self.thread = 0
        self.error: BaseException | None = None
        self._begun = threading.Lock()
        self._over = threading.Lock()

    def begin(self) -> bool:
        """Tell the worker whether to run the call; it is not run if its waiter has left."""
        if not self._begun.acquire(blocking=False):
            return False
        self.thread = threading.get_ident()
        self.started = time.monotonic()
        running[self] = None
        return True

    def end(
        self,
        error: BaseException | None = None,
        *,
        expected: tuple[type[BaseException], ...] = (),
    ) -> bool:
        """Note that the worker is done.

        Args:
            error: What the call raised, if anything.
            expected: What it may raise when it is abandoned, apart from `Stopped`.

        Returns:
            Whether the waiter has left before.
        """
        self.error = error
        if self._over.acquire(blocking=False):
            running.pop(self, None)  # unless `leave` was faster
            return False
        try:
            self._log_late(expected)
        finally:
            del running[self]
        return True

    def leave(self, error: BaseException | None = None) -> bool:
        """Note that the waiter is done.

        Args:
            error: What it got in place of a result, if anything.

        Returns:
            Whether the call is over. If not, it is abandoned, and now asked to stop.
        """
        if self._begun.acquire(blocking=False):
            return True
        if self._over.acquire(blocking=False):
            self.source.stop("its caller was cancelled")
            return False
        running.pop(self, None)  # `end` is about to: what is over must not be reported
        seen = error is not None and self.error is error.__cause__  # asyncio wraps StopIteration
        if self.error is not error and not seen:
            self._log_late()  # it ended just as its waiter was cancelled: nobody saw the error
        self.error = None  # its traceback holds a frame that holds this call
        return True

    def heeds(self) -> bool:
        """Tell whether the call is likely to end soon after it was asked to stop."""
        return self.source.token._heeds()  # noqa: SLF001 - looking at it must not count as a look

    def _log_late(self, expected: tuple[type[BaseException], ...] = ()) -> None:
        error, self.error = self.error, None
        if error is not None and not isinstance(error, (Stopped, *expected)):
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").warning(
                "%s failed after its caller had stopped waiting", self.name, exc_info=error
            )


class Worker(Protocol):
    """A place where calls run: threads today; whatever else can begin, flag and end a call."""

    async def run(self, call: Call[T]) -> T:
        """Run a call and return its result.

        When cancelled it must leave the call at once and give back the slot when the call has
        really ended. Whenever a call that was left ends, it wakes the runner.

        On cancel: the call is left running and is asked to stop.
        """
        ...


def invoke(call: Call[T]) -> T:
    """Call the user's function: the frame that separates its frames from the worker's."""
    return call.func(*call.args)


running: Final[dict[Call[Any], None]] = {}
"""Every call of this process that has begun and not ended, in the order of beginning."""

announced: Final[ContextVar[Callable[[], bool]]] = ContextVar(
    "asyncrun_announced", default=lambda: False
)
"""Tells whether the entry point is about to report what is left itself (rule 14)."""


def snapshot(calls: Iterable[Call[Any]]) -> list[CallInfo]:
    """Describe those of the calls that are still running, the oldest first."""
    return [_info(*each) for each in _located(calls)]


def _located(calls: Iterable[Call[Any]]) -> list[tuple[Call[Any], float, str | None]]:
    frames = sys._current_frames()  # noqa: SLF001 - documented, and the only way
    now = time.monotonic()
    return [
        (call, now - call.started, _where(frames.get(call.thread)))
        for call in sorted(calls, key=lambda call: call.started)
        if call in running
    ]


def _info(call: Call[Any], age: float, where: str | None) -> CallInfo:
    return CallInfo(
        name=call.name,
        function=call.function,
        age=age,
        where=where,
        stopping=call.source.token._set,  # noqa: SLF001 - this must not count as a look
    )


def _where(frame: FrameType | None) -> str | None:
    line = None
    while frame is not None and frame.f_code is not invoke.__code__:
        file = frame.f_code.co_filename
        line = f"{file}:{frame.f_lineno}"
        if not _is_library(file):
            break
        frame = frame.f_back
    return line


_STDLIB: Final = os.__file__.removesuffix("os.py")
_OWN: Final = __file__.removesuffix("_calls.py")


@lru_cache(maxsize=64)
def _is_library(file: str) -> bool:
    in_stdlib = file.startswith((_STDLIB, "<frozen ")) and "site-packages" not in file
    return in_stdlib or file.startswith(_OWN)


LINES: Final = 10
"""How many leftovers are listed one by one, so that they do not scroll other output away."""


def report(calls: Iterable[Call[Any]]) -> list[str]:
    """Say what is still running, a line each (rule 10); where they are many, a line a kind."""
    left = _located(calls)
    if len(left) <= LINES:
        return [f"left running: {_info(*each)}" for each in left]
    kinds = Counter((call.function, where) for call, _, where in left)
    oldest = {(call.function, where): age for call, age, where in reversed(left)}
    common = kinds.most_common(LINES)
    lines = [
        f"left running: {count} x {kind[0]}, up to {oldest[kind]:.1f} s, at {kind[1] or NO_LINE}"
        for kind, count in common
    ]
    others = len(left) - sum(count for _, count in common)
    return [*lines, f"left running: {others} more"] if others else lines


def log_left_behind(runner: object, calls: Iterable[Call[Any]]) -> None:
    """Log what a runner leaves behind, unless the entry point is about to print it."""
    if not announced.get()() and (lines := report(calls)):
        import logging  # noqa: PLC0415 - 10 ms, and rarely needed

        for line in lines:
            logging.getLogger("asyncrun").warning("%s: %s", runner, line)


def function_name(func: object) -> str:
    """Give the name by which people know a callable."""
    while isinstance(func, partial):
        func = func.func
    return getattr(func, "__qualname__", None) or type(func).__qualname__


def check_blocking(caller: str, func: object) -> None:
    """Refuse what is not a plain function to be called in a worker.

    Args:
        caller: Who refuses, for the message.
        func: What was given.

    Raises:
        WrongFunctionError: ``func`` is not callable, or a coroutine function (a `TypeError`).
    """
    wanted = "a blocking function"
    _refuse_coroutine(caller, wanted, func)
    if not callable(func):
        raise WrongFunctionError(caller, wanted, func)
    if is_async(func):
        cure = "await it, or start it with Runner.start_soon()"
        raise WrongFunctionError(caller, wanted, func, cure)


def _refuse_coroutine(caller: str, wanted: str, func: object) -> None:
    if inspect.iscoroutine(func):
        func.close()
        cure = "give the function and its arguments, without calling it"
        raise WrongFunctionError(caller, wanted, func, cure)


def check_async(caller: str, func: object) -> None:
    """Refuse what cannot be an async function.

    Args:
        caller: Who refuses, for the message.
        func: What was given.

    Raises:
        WrongFunctionError: ``func`` is a coroutine, or not callable (a `TypeError`).
    """
    wanted = "an async function"
    _refuse_coroutine(caller, wanted, func)
    if not callable(func):
        raise WrongFunctionError(caller, wanted, func)


def coroutine_of(
    caller: str, func: Callable[..., Coroutine[Any, Any, T] | object], args: tuple[object, ...]
) -> Coroutine[Any, Any, T]:
    """Call an async function.

    Args:
        caller: Who refuses, for the message.
        func: What was given.
        args: Its positional arguments.

    Returns:
        Its coroutine.

    Raises:
        WrongFunctionError: ``func`` gave something else than a coroutine (a `TypeError`).
    """
    result: object = func(*args)
    if not isinstance(result, Coroutine):
        cure = f"it returned {result!r}, not a coroutine"
        raise WrongFunctionError(caller, "an async function", func, cure)
    return cast("Coroutine[Any, Any, T]", result)
