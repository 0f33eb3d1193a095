"""What goes from one process to another: calls, results and errors, as bytes.

Rules of this room (DESIGN.md, 20):

- What cannot be sent is an error of the one call that it belongs to, and says what it is.
- An error arrives as itself, with its traceback as text. Where pickle would call an ``__init__``
  that wants something else than ``args``, the error is built without it.
"""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ._errors import RemoteTraceback, SerializationError, Stopped, rebuild

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PROTOCOL: Final = pickle.HIGHEST_PROTOCOL
"""Both ends are the same Python."""

_HERE: Final = str(Path(__file__).parent)


def _dumps(value: object) -> bytes:
    return pickle.dumps(value, PROTOCOL)


def pack(value: object, what: str, dumps: Callable[[object], bytes] = _dumps) -> bytes:
    """Turn something into bytes.

    Args:
        value: What is to be sent.
        what: How an error names it.
        dumps: How.

    Returns:
        The bytes.

    Raises:
        SerializationError: It cannot be pickled (a `TypeError`).
    """
    try:
        return dumps(value)
    except Exception as exc:
        raise SerializationError(what, "pickled", _one_line(exc)) from exc


def unpack(content: memoryview | bytes, what: str) -> Any:
    """Turn bytes into what they were.

    Args:
        content: The bytes.
        what: How an error names it.

    Returns:
        What `pack` was given.

    Raises:
        SerializationError: It cannot be unpickled here (a `TypeError`).
    """
    try:
        return pickle.loads(content)  # noqa: S301 - from a process of our own
    except Exception as exc:
        raise SerializationError(what, "unpickled", _one_line(exc)) from exc


def is_plain(func: object) -> bool:
    """Tell whether a function is pickled by its name: it has no state to lose."""
    if isinstance(func, BuiltinFunctionType):
        return isinstance(func.__self__, ModuleType | NoneType)  # it may be a method
    return isinstance(func, FunctionType)


def looks_nothing_up(content: memoryview | bytes) -> bool:
    """Tell whether it is sure that to unpickle something runs no code but pickle's own."""
    return pickle.STACK_GLOBAL not in bytes(content)


def pack_error(error: BaseException, raiser: str) -> bytes:
    """Turn an error of a call into bytes, with its traceback as text.

    Args:
        error: The error; where it cannot be sent, one that says so takes its place.
        raiser: What raised it, for that one.

    Returns:
        The bytes, for `raise_error`.
    """
    text = _text(error)
    why = ""
    for attempt in (error, _Bare(error)):
        try:
            content = pickle.dumps((attempt, text), PROTOCOL)
            pickle.loads(content)  # noqa: S301 - what this process has just made
        except Exception as exc:  # noqa: BLE001 - whatever its parts may raise
            why = why or _one_line(exc)
        else:
            return content
    what = f"the {type(error).__qualname__} that {raiser} raised"
    return pickle.dumps((SerializationError(what, "pickled", why), text), PROTOCOL)


def raise_error(content: memoryview | bytes, raiser: str) -> NoReturn:
    """Raise the error that `pack_error` was given."""
    what = f"the error that {raiser} raised"
    error, text = cast("tuple[BaseException, str]", unpack(content, what))
    if not isinstance(error, Stopped):
        error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error


class _Bare:
    """An error for pickle, that comes out as that error, made without its ``__init__``."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        error = self._error
        return rebuild, (type(error), error.args, vars(error))


def _text(error: BaseException) -> str:
    """Format an error without the frames that are ours."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith(_HERE):
        place = place.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, place))
    except Exception:  # noqa: BLE001 - a chained error may raise in its __str__
        return "".join(traceback.format_tb(place))


def _one_line(error: Exception) -> str:
    """Return the message; `traceback` bears with a ``__str__`` that raises."""
    formatted = traceback.TracebackException.from_exception(error)
    formatted.__notes__ = None  # pickle of Python 3.14 notes which part of our parcel it was at
    return list(formatted.format_exception_only())[-1].strip()
