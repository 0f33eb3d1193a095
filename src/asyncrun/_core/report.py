"""Reports and log lines about calls, and short names for what they mention.

Rules of this module (rules 8 and 10):

- A report has a line for each call; where there are many, a line for each kind.
- An error that no waiter gets any more is logged, once.
"""

from __future__ import annotations

from collections import Counter
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .errors import Stopped
from .registry import NO_LINE, entry_point_reports, info_of, with_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .registry import RunningCall

WARNING: Final = 30
"""`logging.WARNING`: the module takes 10 ms to import."""

MAX_REPORT_LINES: Final = 10
"""How many leftovers are listed one by one, so that they do not scroll other output away."""


def report(calls: Iterable[RunningCall]) -> list[str]:
    """Return a line for each call that still runs (rule 10); if there are many, for each kind."""
    return [f"left running: {line}" for line in described(calls)]


def described(calls: Iterable[RunningCall]) -> list[str]:
    """Return a description of each call that is still running; of each kind if they are many."""
    left = with_line(calls)
    if len(left) <= MAX_REPORT_LINES:
        return [str(info_of(*each)) for each in left]
    kinds = Counter((call.function, where) for call, _, where in left)
    oldest = {(call.function, where): age for call, age, where in reversed(left)}
    common = kinds.most_common(MAX_REPORT_LINES)
    lines = [
        f"{count} x {kind[0]}, up to {oldest[kind]:.1f} s, at {kind[1] or NO_LINE}"
        for kind, count in common
    ]
    others = len(left) - sum(count for _, count in common)
    return [*lines, f"{others} more"] if others else lines


def log_left_behind(owner: object, calls: Iterable[RunningCall], level: int = WARNING) -> None:
    """Log what a runner or an executor leaves behind, unless the entry point will print it."""
    if not entry_point_reports.get()() and (lines := report(calls)):
        import logging  # noqa: PLC0415 - 10 ms, and rarely needed

        for line in lines:
            logging.getLogger("asyncrun").log(level, "%s: %s", owner, line)


def log_unobserved_error(
    name: str, error: BaseException, silent: tuple[type[BaseException], ...]
) -> None:
    """Log an error that nobody waits for any more (rule 8).

    Args:
        name: The call's.
        error: What it raised.
        silent: What it may raise when nobody waits, apart from `Stopped`.
    """
    if not isinstance(error, (Stopped, *silent)):
        import logging  # noqa: PLC0415 - 10 ms, and rarely needed

        logging.getLogger("asyncrun").warning(
            "%s failed after its caller had stopped waiting", name, exc_info=error
        )


def function_name(func: Any, *args: Any) -> str:
    """Return the name by which people know a callable, below partials and `Context.run`."""
    while True:
        if isinstance(func, partial):
            func, args = func.func, (*func.args, *args)
        elif args and isinstance(getattr(func, "__self__", None), Context):
            func, args = args[0], args[1:]
        else:
            return getattr(func, "__qualname__", None) or type(func).__qualname__


MAX_REPR: Final = 100
"""Characters that an item may take in a note."""


def short_repr(arg: object) -> str:
    """Return a `repr` of a few characters."""
    from reprlib import Repr  # noqa: PLC0415 - rarely needed

    brief = Repr()
    brief.maxlevel = 3
    brief.maxstring = brief.maxother = MAX_REPR
    if isinstance(arg, bytes | bytearray):
        arg = arg[:MAX_REPR]  # as `reprlib` does with strings
    try:
        text = brief.repr(arg)
    except Exception:  # noqa: BLE001 - whatever a __repr__ may raise
        text = object.__repr__(arg)
    return text if len(text) <= MAX_REPR else f"{text[:MAX_REPR]}..."
