"""Checks of arguments at the call: functions of the wrong kind, numbers out of their range.

Rule of this module: a check raises at once, before anything starts, and says what was wanted, what
came, and what to do instead.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from .errors import OutOfRangeError, WrongFunctionError, WrongStateError

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


UNCALLED: Final = "give the function and its arguments, without calling it"

NOT_CALLABLE: Final = {
    "Runner.map()": "give the function itself, and then the items",
    "ProcessWorkers(initializer=)": "give the function itself, and its arguments as initargs",
}
"""The hint for something that cannot be called, where that is not `UNCALLED`."""

ASYNC: Final = {
    "Runner.map()": "await it with each item, or start it with Runner.start_soon() for each",
    "ProcessWorkers(initializer=)": "a worker process calls it, and has no event loop to await it",
}
"""The hint for an async function, where it cannot simply be started elsewhere."""

BLOCKING: Final = {
    "Runner.start_soon()": "a blocking function is for Runner.submit()",
    "run()": "a blocking function can be called without run()",
}
"""The hint for a function that is not async."""


def check_blocking(caller: str, func: object) -> None:
    """Refuse what is not a plain function to be called in a worker.

    Args:
        caller: The function that refuses, for the message.
        func: What was given.

    Raises:
        WrongFunctionError: ``func`` is not callable, or async (a `TypeError`).
    """
    if not callable(func) or is_async(func):
        raise WrongFunctionError(caller, "a blocking function", func, _cure(caller, func))


def _cure(caller: str, func: object) -> str:
    """Return what to do with something that is no blocking function."""
    if is_async_generator(func):
        hint = "iterate it with `async for`, in an async function that Runner.start_soon() starts"
    elif inspect.iscoroutine(func):
        func.close()
        hint = f"await it, or {UNCALLED}, to Runner.start_soon()"
    elif inspect.isgenerator(func):
        hint = "give a function that iterates it, such as list, and it as the argument"
    elif isinstance(func, Mapping):
        hint = "give a function, such as its method get"
    elif callable(func):
        hint = ASYNC.get(caller, "await it, or start it with Runner.start_soon()")
    else:
        hint = NOT_CALLABLE.get(caller, UNCALLED)
    return hint


def check_outside(main: object) -> None:
    """Refuse to run an event loop where one runs.

    Args:
        main: What was given to run in it.

    Raises:
        WrongStateError: One runs in this thread, of asyncio or Trio (a `RuntimeError`).
    """
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    is_running = trio is not None and trio.lowlevel.in_trio_run()
    if asyncio is not None and not is_running:
        with suppress(RuntimeError):
            is_running = asyncio.get_running_loop() is not None
    if is_running:
        if inspect.iscoroutine(main):
            main.close()
        # The beginning is what AnyIO says.
        state = "an event loop in this thread"
        raise WrongStateError("Already running", state, "await main() instead")


def check_async(caller: str, func: object) -> None:
    """Refuse what cannot be an async function.

    Args:
        caller: The function that refuses, for the message.
        func: What was given.

    Raises:
        WrongFunctionError: ``func`` is a coroutine, or not callable (a `TypeError`).
    """
    if callable(func) and not is_async_generator(func):
        return
    hint = UNCALLED
    if inspect.iscoroutine(func):
        func.close()
    elif is_async_generator(func):
        hint = "iterate it with `async for` in an async function, and give that"
    elif inspect.isgenerator(func):
        hint = f"iterate it in a function; {BLOCKING[caller]}"
    elif inspect.isawaitable(func):
        hint = "await it in an async function, and give that"
    raise WrongFunctionError(caller, "an async function", func, hint)


def call_async(
    caller: str, func: Callable[..., Coroutine[Any, Any, T] | object], args: tuple[object, ...]
) -> Coroutine[Any, Any, T]:
    """Call an async function.

    Args:
        caller: The function that refuses, for the message.
        func: What was given.
        args: Its positional arguments.

    Returns:
        Its coroutine.

    Raises:
        WrongFunctionError: ``func`` gave something else than a coroutine (a `TypeError`).
    """
    result: object = func(*args)
    if not isinstance(result, Coroutine):
        hint = BLOCKING[caller]
        if is_async_generator(result) or inspect.isawaitable(result):
            hint = "use that in an async function, and give that function"
        hint = f"it returned {result!r}, not a coroutine; {hint}"
        raise WrongFunctionError(caller, "an async function", func, hint)
    return cast("Coroutine[Any, Any, T]", result)


_ASYNC: Final = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def is_async(func: Callable[..., object]) -> bool:
    """Return whether calling it would only make a coroutine, or an async generator."""
    if type(func) is FunctionType and not func.__dict__:  # what follows takes 10 us
        return bool(func.__code__.co_flags & _ASYNC)
    return (
        inspect.iscoroutinefunction(func)
        or inspect.iscoroutinefunction(type(func).__call__)
        or is_async_generator(func)
    )


def is_async_generator(func: object) -> bool:
    """Return whether something is an async generator, or a function that makes one."""
    call = getattr(type(func), "__call__", None)  # noqa: B004 - not whether, but what
    return (
        inspect.isasyncgen(func)
        or inspect.isasyncgenfunction(func)
        or inspect.isasyncgenfunction(call)
    )
