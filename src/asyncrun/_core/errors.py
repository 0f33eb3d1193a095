"""Every exception that asyncrun raises, but `WorkerDied`.

Rules of this module: each class takes data, builds its own message and keeps the data as
attributes; each subclasses what a caller would guess. Nothing here imports AnyIO.
"""

from __future__ import annotations

import signal
from importlib import import_module
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


def reconstruct(
    kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]
) -> BaseException:
    """Make an error without its ``__init__``, which may want something else than ``args``."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(attributes)
    return error


class _Picklable(BaseException):
    """An error that can go to another process, whatever its ``__init__`` wants."""

    def __reduce__(self) -> tuple[object, ...]:
        return reconstruct, (type(self), self.args, vars(self))


class OutOfRangeError(_Picklable, ValueError):
    """An option has a value that it cannot have."""

    def __init__(self, option: str, expected: str, actual: object) -> None:
        super().__init__(f"{option} must be {expected}, was {actual!r}")
        self.option = option
        self.expected = expected
        self.actual = actual


class WrongFunctionError(_Picklable, TypeError):
    """Something was given that is not the kind of function that is wanted there."""

    def __init__(self, caller: str, expected: str, actual: object, hint: str = "") -> None:
        text = f"{caller} wants {expected}, got {actual!r}"
        super().__init__(f"{text}; {hint}" if hint else text)
        self.caller = caller
        self.expected = expected
        self.actual = actual
        self.hint = hint


class NotIterableError(_Picklable, TypeError):
    """Something was given that has no items to take one by one."""

    def __init__(self, caller: str, actual: object) -> None:
        hint = "; call it: the items are in what it returns" if callable(actual) else ""
        text = f"{caller} wants an iterable or an async iterable of items, got {actual!r}"
        super().__init__(text + hint)
        self.caller = caller
        self.actual = actual


class CallTimeoutError(_Picklable, TimeoutError):
    """A call took longer than its ``timeout=``, counted from when it began to run.

    A function that raises a `TimeoutError` itself, as sockets do, raises another class.

    Args:
        name: The call's name.
        seconds: Its ``timeout=``.

    Attributes:
        name: The same.
        seconds: The same.
    """

    name: str
    seconds: float

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"{name} took longer than {seconds:g} s")
        self.name = name
        self.seconds = seconds


class ItemTimeoutError(CallTimeoutError):
    """The call for an item of a map took longer than the map's ``timeout=``.

    Args:
        name: The name of the map's function.
        seconds: The map's ``timeout=``.
        item: The item.

    Attributes:
        item: The same.
    """

    item: object

    def __init__(self, name: str, seconds: float, item: object) -> None:
        super().__init__(name, seconds)
        self.item = item


class UnknownWorkerError(_Picklable, ValueError):
    """``worker=`` is neither the name of a kind of worker nor a worker object."""

    def __init__(self, worker: object) -> None:
        expected = "'thread', 'process' or a worker object such as ProcessWorkers()"
        super().__init__(f"worker must be {expected}, was {worker!r}")
        self.worker = worker


class NotConstructibleError(_Picklable, TypeError):
    """A class was called that is not for its users to call."""

    def __init__(self, what: str, source: str) -> None:
        super().__init__(f"{what} is not to be called; get one from {source}")
        self.what = what
        self.source = source


class WrongStateError(_Picklable, RuntimeError):
    """Something was used too early, too late or twice."""

    def __init__(self, what: object, state: str, hint: str) -> None:
        super().__init__(f"{what} {state}; {hint}")
        self.what = what
        self.state = state
        self.hint = hint


class ShutDownError(_Picklable, RuntimeError):
    """An executor was given a call too late."""

    def __init__(self, executor: object, what: str, shutdown: str = "shutdown") -> None:
        # The beginning is what `concurrent.futures` says: programs look for it.
        super().__init__(f"cannot schedule new futures after {shutdown}: {executor} {what}")
        self.executor = executor
        self.what = what


def describe_exit(status: int | None, signum: int | None) -> str:
    """Return in words how a process ended."""
    if signum is None:
        return f"ended with status {status}"
    try:
        name = signal.Signals(signum).name
    except ValueError:  # a real-time signal
        name = f"signal {signum}"
    memory = "; is there memory enough?" if name == "SIGKILL" else ""
    return f"was killed by {name}{memory}"


class WorkerStartError(_Picklable, RuntimeError):
    """A worker process could not be started.

    Args:
        name: The name of the call that it was for.
        why: What stood in the way.

    Attributes:
        name: The same.
        why: The same.
        is_permanent: Whether the main module or the initializer failed, as it will in others.
    """

    name: str
    why: str
    is_permanent: bool = False

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"no worker process could be started for {name}: {why}")
        self.name = name
        self.why = why


class SerializationError(_Picklable, TypeError):
    """Something cannot go from one process to another.

    Args:
        what: What that is: an argument, a result, a function, an error.
        done: What cannot be done with it: it cannot be pickled, or unpickled.
        why: The error that says so.

    Attributes:
        what: The same.
        done: The same.
        why: The same.
    """

    what: str
    done: str
    why: str

    def __init__(self, what: str, done: str, why: str) -> None:
        super().__init__(f"{what} cannot be {done}: {why}; {_hint()}")
        self.what = what
        self.done = done
        self.why = why


def _hint() -> str:
    try:
        import_module("cloudpickle")
    except ImportError:
        return (
            "worker processes take and give what pickle can, and functions of a module; with the "
            "extra asyncrun[cloudpickle] also lambdas, closures, and what a prompt or a notebook "
            "defines"
        )
    return "worker processes take and give what pickle and cloudpickle can"


class RemoteTraceback(Exception):  # noqa: N818 - it is none
    """The cause of an error that comes from a worker process: where it was raised there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def first_leaf(error: BaseException) -> BaseException:
    """Return the first error in an exception group, however deep; any other error as it is."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error
