"""The namespace of `concurrent.futures`, with executors whose calls can be stopped.

A program on `concurrent.futures` needs a new import line, and nothing else::

    from asyncrun.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

`ThreadPoolExecutor` and `ProcessPoolExecutor` are asyncrun's own; all other names but `install` are
those of the standard library.
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
    "install",
    "wait",
)


def install() -> None:
    """Put executors that can be stopped in place of the standard library's, in the whole program.

    Call it first: what has been imported by name before keeps its meaning. From then on:

    - `concurrent.futures.ThreadPoolExecutor` is that of this module, also for subclasses, for
      asyncio's default executor, and for the libraries that the program uses.
    - So is `concurrent.futures.ProcessPoolExecutor` where processes are spawned. Where they inherit
      what the program has (``fork``), its workers are the standard library's; they end with the
      program, and are killed where the pool is left by an error.
    - Ctrl-C under asyncio, AnyIO and Trio ends also the waits for threads that a cancellation must
      not end; what these run in is no reason for the process not to end.
    - Child processes of `multiprocessing` have the same in place, and print no traceback at Ctrl-C.

    ``python -m asyncrun script.py`` does so for a program that is not changed at all.
    """
    from ._program.installed.install import install as install_everything  # noqa: PLC0415

    install_everything()


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
