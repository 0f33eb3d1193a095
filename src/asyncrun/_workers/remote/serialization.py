"""Calls, results and errors as bytes, for another process.

Rules of this module (rule 20):

- What cannot be sent is an error of the one call that it belongs to, and says what it is.
- What plain pickle cannot send goes by value, where cloudpickle is installed (see `by_value`).
- An error arrives as itself, with all that hangs on it (see `error_chain`) and its traceback as
  text.
"""

from __future__ import annotations

import io
import pickle
import traceback
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..._core.errors import RemoteTraceback, SerializationError, Stopped
from .by_value import by_value_pickler, is_main_importable
from .endpoint import SMALL
from .error_chain import PROTOCOL, dump, end_causes, load, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .error_chain import Record


class PicklingFailedError(SerializationError, pickle.PicklingError):
    """Something cannot be pickled; for those who handle what `pickle` raises."""


class UnpicklingFailedError(SerializationError, pickle.UnpicklingError):
    """Something cannot be unpickled; for those who handle what `pickle` raises."""


_PACKAGE: Final = str(Path(__file__).parents[2])


def pickle_with(pickler: type[pickle.Pickler], value: object) -> bytes:
    """Pickle something."""
    file = io.BytesIO()
    pickler(file, PROTOCOL).dump(value)
    return file.getvalue()


def dumps(
    value: object,
    subject: str,
    pickle_it: Callable[[object], bytes] | None = None,
    pickle_by_value: Callable[[type[pickle.Pickler], object], bytes] = pickle_with,
) -> bytes:
    """Turn something into bytes.

    Args:
        value: What is to be sent.
        subject: How an error names it.
        pickle_it: How; None means plainly.
        pickle_by_value: How, with cloudpickle's pickler.

    Returns:
        The bytes.

    Raises:
        SerializationError: It cannot be pickled (a `TypeError`).
    """
    try:
        content = pickle.dumps(value, PROTOCOL) if pickle_it is None else pickle_it(value)
    except Exception as exc:
        if (pickler := by_value_pickler()) is None:
            raise PicklingFailedError(subject, "pickled", one_line(exc)) from exc
    else:
        if (
            is_main_importable()
            or (len(content) > SMALL and _is_plain(value))  # to look through it takes long
            or b"__main__" not in content
            or (pickler := by_value_pickler()) is None
        ):
            return content
    try:
        return pickle_by_value(pickler, value)
    except Exception as exc:
        raise PicklingFailedError(subject, "pickled", one_line(exc)) from exc


_PLAIN: Final = frozenset({bytes, str, int, float, bool, NoneType})


def _is_plain(value: object) -> bool:
    """Return whether a value, or all that is in a tuple, leads to no class."""
    if type(value) is tuple:
        return _PLAIN.issuperset(map(type, cast("tuple[object, ...]", value)))
    return type(value) in _PLAIN


def loads(content: memoryview | bytes, subject: str) -> Any:
    """Turn bytes into what they were.

    Args:
        content: The bytes.
        subject: How an error names it.

    Returns:
        What `dumps` was given.

    Raises:
        SerializationError: It cannot be unpickled here (a `TypeError`).
    """
    try:
        return pickle.loads(content)  # noqa: S301 - from a process of our own
    except Exception as exc:
        raise UnpicklingFailedError(subject, "unpickled", one_line(exc)) from exc


def has_no_globals(content: memoryview | bytes) -> bool:
    """Return whether unpickling is sure to run no code but pickle's own."""
    return pickle.STACK_GLOBAL not in bytes(content)


def dump_error(error: BaseException, source: str) -> bytes:
    """Turn an error of a call into bytes, with its traceback as text.

    Args:
        error: The error; where it cannot be sent, one that says so takes its place. So it is with
            each error that hangs on it.
        source: What raised it, for that one.

    Returns:
        The bytes, for `raise_error`.
    """
    return pickle.dumps((dump(error, source), _text(error)), PROTOCOL)


def raise_error(content: memoryview | bytes, source: str) -> NoReturn:
    """Raise the error that `dump_error` was given.

    The traceback from there is the last in the chain of its causes.
    """
    subject = f"the error that {source} raised"
    dumped, text = cast("tuple[bytes | list[Record], str]", loads(content, subject))
    error = load(dumped, subject)
    if not isinstance(error, Stopped):
        end_causes(error, RemoteTraceback(text))
    try:
        raise error
    finally:
        del error


def _text(error: BaseException) -> str:
    """Format an error without the frames that are ours."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        place = place.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, place))
    except Exception:  # noqa: BLE001 - a chained error may raise in its __str__
        return "".join(traceback.format_tb(place))
