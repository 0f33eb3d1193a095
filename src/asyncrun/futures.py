"""The namespace of `concurrent.futures`, with executors whose calls can be stopped.

A program on `concurrent.futures` needs a new import line, and nothing else::

    from asyncrun.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

`ThreadPoolExecutor` and `ProcessPoolExecutor` are asyncrun's own; all other names are those of the
standard library.
"""

from concurrent import futures as _futures
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,  # noqa: A004 - so it is called there
    as_completed,
    wait,
)
from typing import TYPE_CHECKING

from ._executors.thread import ThreadPoolExecutor

if TYPE_CHECKING:
    from ._executors.process.executor import ProcessPoolExecutor

__all__ = (
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
)


if not TYPE_CHECKING:  # where it would let every name pass

    def __getattr__(name: str) -> object:
        """Import a name when it is used, as `concurrent.futures` does: what it needs takes long."""
        if name == "ProcessPoolExecutor":
            from ._executors.process.executor import ProcessPoolExecutor  # noqa: PLC0415

            thing: object = ProcessPoolExecutor
        elif name in _futures.__all__:  # Python 3.14 has one for interpreters
            thing = getattr(_futures, name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = thing
        return thing

    def __dir__() -> list[str]:
        return sorted({*globals(), *_futures.__all__})
