"""The event loop: calls into it, soon or later; waits in it; a limiter without a limit.

Rule of this module: what the loop calls soon or later runs in the event loop's thread, in no task.
It must not raise: Trio takes an error there for one of its own.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, final

import anyio
import anyio.lowlevel

from .._core import stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self


def threadsafe_caller() -> Callable[..., None]:
    """Return a function that calls another one in this event loop, soon.

    It may be called from any thread and from a signal handler. If the loop has finished by then
    nothing happens.
    """
    token = anyio.lowlevel.current_token()
    post_soon = token.backend_class.run_sync_soon

    def post(func: Callable[..., object], *args: object) -> None:
        with suppress(anyio.RunFinishedError):
            post_soon(func, args, token.native_token)

    return post


async def until_set(token: stop.StopToken) -> None:
    """Wait until a stop token is set, in whatever thread.

    On cancel: it waits no longer.
    """
    event = anyio.Event()
    with stop.StopCallback(token, threadsafe_caller(), (event.set,)):
        await event.wait()


stop.until_set = until_set


def later_caller() -> Callable[[float, Callable[[], object]], Callable[[], object]]:
    """Return a function that calls another one in this event loop, later.

    It takes seconds from now (zero or less means soon) and the function, and returns a function
    that revokes the call. Call both in the event loop's thread. This function wants a task; what it
    returns does not: under plain asyncio AnyIO finds no loop in a callback.
    """
    loop: Any = anyio.lowlevel.current_token().native_token
    if (call_later := getattr(loop, "call_later", None)) is None:
        return _call_later_in_trio

    def call(seconds: float, func: Callable[[], object]) -> Callable[[], object]:
        revoke: Callable[[], object] = call_later(seconds, func).cancel
        return revoke

    return call


def _call_later_in_trio(seconds: float, func: Callable[[], object]) -> Callable[[], object]:
    import trio  # noqa: PLC0415 - it is loaded: the loop that runs here is its

    scope = trio.CancelScope()
    trio.lowlevel.spawn_system_task(_sleep_and_call, scope, seconds, func)
    return scope.cancel


async def _sleep_and_call(scope: Any, seconds: float, func: Callable[[], object]) -> None:
    with scope:
        await anyio.sleep(max(seconds, 0))
        func()


def cancellation_types() -> tuple[type[BaseException], ...]:
    """Return what `anyio.from_thread` raises in a call that was abandoned."""
    if (futures := sys.modules.get("concurrent.futures")) is None:  # Trio does without
        return (anyio.get_cancelled_exc_class(),)
    return (anyio.get_cancelled_exc_class(), futures.CancelledError)


@final
class _NoLimit(nullcontext[None], anyio.CapacityLimiter):
    """A limiter of which AnyIO takes nothing, and without a checkpoint.

    Under asyncio AnyIO enters it, and so enters nothing.
    """

    def __new__(cls) -> Self:
        return object.__new__(cls)

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Take nothing (AnyIO calls this under Trio)."""

    def release_on_behalf_of(self, borrower: object) -> None:
        """Release nothing."""


NO_LIMIT: Final = _NoLimit()
