"""The token of the call that this code runs in, wherever it runs.

Rule of this module (rule 4): outside a call there is a token, too, which is never set.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Final, Protocol

from .errors import Stopped
from .stop import StopFlag, StopToken

NO_CALL: Final[StopToken] = StopFlag()
"""The token of code that is not inside a call; it has no source."""

DETACHED: Final[StopToken] = StopFlag()
"""The same, for a task that a call has started: it is not to get its token in any other way."""

current_token: Final[ContextVar[StopToken]] = ContextVar("asyncrun_token", default=NO_CALL)


class HasToken(Protocol):
    """A call that runs in a thread, and has its token."""

    token: StopToken


token_by_thread: Final[dict[int, HasToken]] = {}
"""The call that runs in a thread which does nothing else, by `threading.get_ident`.

Code that runs there in another context, as what `asyncio.to_thread` calls, finds its token here.
"""


def stop_token() -> StopToken:
    """Return the token of the blocking call that this code runs in.

    Outside a call it is a token that is never set. The call is found through a context variable:
    a thread that the call starts itself has no token unless it is run in a copy of the context
    (`contextvars.copy_context`), or is handed the token.
    """
    token = current_token.get()
    if token is NO_CALL and (holder := token_by_thread.get(threading.get_ident())) is not None:
        return holder.token
    return token


def safe_point() -> None:
    """Check, where a blocking call may end, for a stop: do nothing, or raise.

    Call it in blocking code as often as that code can stop cleanly: between chunks, records,
    retries. It costs about as much as a dictionary look-up. Outside a call it does nothing, so a
    function with safe points stays a plain function.

    Raises:
        Stopped: This call was asked to stop.
    """
    token = current_token.get()
    if token is NO_CALL:
        token = stop_token()
    if not token._observed:
        token._mark_observed()
    if token._set:
        raise Stopped(token.reason)
