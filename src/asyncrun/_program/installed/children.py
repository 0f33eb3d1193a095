"""Processes that the program starts by `multiprocessing`: the same is put in place there.

Rules of this module:

- A spawned process is told by what it is handed: nothing is left on the disk or in the environment.
- A process that a KeyboardInterrupt ends prints no traceback; the program has said what it says.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..own_handlers import stop_what_began_before
from .hooks import when_imported
from .options import options

if TYPE_CHECKING:
    from collections.abc import Callable


def install(in_child: Callable[[float, Any, bool], object]) -> None:
    """Put that in place.

    Args:
        in_child: Does it in a spawned process, given the values of `options`.
    """
    Installation.in_child = staticmethod(in_child)
    when_imported("multiprocessing.spawn", _tell_spawned)
    when_imported("multiprocessing.process", _silence_interrupts)


class Installation:
    """An object that puts everything in place where a new process unpickles it.

    Attributes:
        in_child: See `install`.
    """

    in_child: Callable[[float, Any, bool], object]

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Any, ...]]:
        return self.in_child, (options.grace, options.only, options.watches)


def _tell_spawned(spawn: Any) -> None:
    original = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        # What it does not know, `spawn.prepare` ignores.
        return {"asyncrun": Installation(), **original(name)}

    spawn.get_preparation_data = get_preparation_data


def _silence_interrupts(process: Any) -> None:
    original = process.BaseProcess._bootstrap

    def _bootstrap(self: Any, *args: Any, **kwargs: Any) -> int:
        self.run = partial(_run, self.run)
        status: int = original(self, *args, **kwargs)
        return status

    process.BaseProcess._bootstrap = _bootstrap


def _run(run: Callable[[], object]) -> None:
    try:
        run()
    except KeyboardInterrupt:
        raise SystemExit(1) from None  # the status is that of any uncaught error
    finally:
        stop_what_began_before()
