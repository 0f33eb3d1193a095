"""What an event loop is to do soon, for any thread, or later, by a timer.

Rule of this module: a function that is called so runs in the event loop's thread, in no task. It
must not raise: Trio takes an error there for one of its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import Callable


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


def call_later(seconds: float, func: Callable[[], object]) -> Callable[[], object]:
    """Call a function in this event loop, later.

    Args:
        seconds: When, from now; zero or less means soon.
        func: What to call.

    Returns:
        A function that revokes this, in the event loop's thread.
    """
    loop: Any = anyio.lowlevel.current_token().native_token
    if (call := getattr(loop, "call_later", None)) is not None:  # asyncio, or uvloop
        revoke: Callable[[], object] = call(seconds, func).cancel
        return revoke
    import trio  # noqa: PLC0415 - it is loaded: the loop that runs here is its

    scope = trio.CancelScope()
    trio.lowlevel.spawn_system_task(_sleep_and_call, scope, seconds, func)
    return scope.cancel


async def _sleep_and_call(scope: Any, seconds: float, func: Callable[[], object]) -> None:
    with scope:
        await anyio.sleep(max(seconds, 0))
        func()
