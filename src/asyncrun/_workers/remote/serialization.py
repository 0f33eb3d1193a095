"""What goes from one process to another: calls, results and errors, as bytes.

Rules of this room (DESIGN.md, 20):

- What cannot be sent is an error of the one call that it belongs to, and says what it is.
- An error arrives as itself, with all that hangs on it (see `error_chain`) and its traceback as
  text.
"""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..._core.errors import RemoteTraceback, SerializationError, Stopped
from .error_chain import PROTOCOL, dump, end_causes, load, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .error_chain import Record

_HERE: Final = str(Path(__file__).parents[2])


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
        raise SerializationError(what, "pickled", one_line(exc)) from exc


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
        raise SerializationError(what, "unpickled", one_line(exc)) from exc


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
        error: The error; where it cannot be sent, one that says so takes its place. So it is with
            each error that hangs on it.
        raiser: What raised it, for that one.

    Returns:
        The bytes, for `raise_error`.
    """
    return pickle.dumps((dump(error, raiser), _text(error)), PROTOCOL)


def raise_error(content: memoryview | bytes, raiser: str) -> NoReturn:
    """Raise the error that `pack_error` was given.

    The traceback from there is the last in the chain of its causes.
    """
    what = f"the error that {raiser} raised"
    dumped, text = cast("tuple[bytes | list[Record], str]", unpack(content, what))
    error = load(dumped, what)
    if not isinstance(error, Stopped):
        end_causes(error, RemoteTraceback(text))
    try:
        raise error
    finally:
        del error


def _text(error: BaseException) -> str:
    """Format an error without the frames that are ours."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith(_HERE):
        place = place.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, place))
    except Exception:  # noqa: BLE001 - a chained error may raise in its __str__
        return "".join(traceback.format_tb(place))
