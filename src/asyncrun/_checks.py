"""What is refused at the call: functions of the wrong kind, numbers out of their range.

Rule of this room: a check raises at once, before anything starts, and says what was wanted, what
came, and what to do instead.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from ._errors import OutOfRangeError, WrongFunctionError
from ._stop import is_async

T = TypeVar("T")


def check_count(option: str, value: int | None) -> None:
    """Refuse what is not a number of things.

    Args:
        option: Its name, for the message.
        value: What was given; None stands for a default.

    Raises:
        OutOfRangeError: It is not a whole number >= 1 (a `ValueError`).
    """
    if value is not None and not (value >= 1 and value % 1 == 0):
        raise OutOfRangeError(option, "a whole number >= 1 or None", value)


def check_seconds(option: str, value: float) -> None:
    """Refuse what is not a time to wait.

    Args:
        option: Its name, for the message.
        value: What was given.

    Raises:
        OutOfRangeError: It is negative or not a number (a `ValueError`).
    """
    if not value >= 0:
        raise OutOfRangeError(option, ">= 0 seconds", value)


def check_timeout(option: str, value: float | None) -> None:
    """Refuse what is not a time to wait at most.

    Args:
        option: Its name, for the message.
        value: What was given; None stands for no limit.

    Raises:
        OutOfRangeError: It is not above 0 (a `ValueError`).
    """
    if value is not None and not value > 0:
        raise OutOfRangeError(option, "> 0 seconds or None", value)


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
