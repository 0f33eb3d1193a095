"""Every exception that asyncrun raises.

Rules of this room: each class takes data, builds its own message and keeps the data as
attributes; each subclasses what a caller would guess. Nothing here imports AnyIO.
"""

from __future__ import annotations

import signal
from typing import cast


class Stopped(BaseException):
    """Raised at a safe point of a blocking call that was asked to stop.

    It derives from `BaseException`, as `asyncio.CancelledError` and `trio.Cancelled` do, so
    that an ``except Exception`` around a retry loop cannot swallow it.

    Args:
        reason: What was given to the `StopSource.stop` that came first, or None.

    Attributes:
        reason: The same.
    """

    reason: str | None

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(*([] if reason is None else [reason]))
        self.reason = reason

    def __str__(self) -> str:
        return "asked to stop" if self.reason is None else f"asked to stop: {self.reason}"


class Interrupted(KeyboardInterrupt):
    """Raised by `run` after a signal, when main has unwound.

    Left uncaught, it ends the process by that same signal, without a traceback. Caught, it is
    the program's own affair. An error that main raised while it unwound is its ``__cause__``.

    Args:
        signum: The signal that came first.

    Attributes:
        signum: The same.
    """

    signum: signal.Signals

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signal.Signals(signum)

    def __str__(self) -> str:
        return f"interrupted by {self.signum.name}"


class OutOfRangeError(ValueError):
    """An option has a value that it cannot have."""

    def __init__(self, option: str, wanted: str, got: object) -> None:
        super().__init__(f"{option} must be {wanted}, was {got!r}")
        self.option = option
        self.wanted = wanted
        self.got = got


class WrongFunctionError(TypeError):
    """Something was given that is not the kind of function that is wanted there."""

    def __init__(self, caller: str, wanted: str, got: object, cure: str = "") -> None:
        text = f"{caller} wants {wanted}, got {got!r}"
        super().__init__(f"{text}; {cure}" if cure else text)
        self.caller = caller
        self.wanted = wanted
        self.got = got
        self.cure = cure


class NotIterableError(TypeError):
    """Something was given that has no items to take one by one."""

    def __init__(self, caller: str, got: object) -> None:
        super().__init__(f"{caller} wants an iterable or an async iterable of items, got {got!r}")
        self.caller = caller
        self.got = got


class TimedOutError(TimeoutError):
    """The call for an item took longer than it was given."""

    def __init__(self, name: str, seconds: float, item: object) -> None:
        super().__init__(f"{name} took longer than {seconds:g} s")
        self.name = name
        self.seconds = seconds
        self.item = item


class NoSuchWorkerError(ValueError):
    """``worker=`` names a kind of worker that this version does not have."""

    def __init__(self, worker: object, known: tuple[str, ...]) -> None:
        wanted = " or ".join(repr(kind) for kind in known)
        planned = ": worker processes are not built yet" if worker == "process" else ""
        super().__init__(f"worker must be {wanted}, was {worker!r}{planned}")
        self.worker = worker
        self.known = known


class WrongStateError(RuntimeError):
    """Something was used too early, too late or twice."""

    def __init__(self, what: object, state: str, cure: str) -> None:
        super().__init__(f"{what} {state}; {cure}")
        self.what = what
        self.state = state
        self.cure = cure


class ShutDownError(RuntimeError):
    """An executor was given a call too late."""

    def __init__(self, executor: object, what: str, shutdown: str = "shutdown") -> None:
        # The beginning is what `concurrent.futures` says: programs look for it.
        super().__init__(f"cannot schedule new futures after {shutdown}: {executor} {what}")
        self.executor = executor
        self.what = what


def first_of(error: BaseException) -> BaseException:
    """Return the first error in an exception group, however deep; any other error as it is."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error
