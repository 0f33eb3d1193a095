"""An asyncio and Trio task runner, built on AnyIO, in which every task can be stopped."""

from ._calls import CallInfo as CallInfo
from ._entry import run as run
from ._errors import Interrupted as Interrupted
from ._errors import Stopped as Stopped
from ._runner import Runner as Runner
from ._stop import StopSource as StopSource
from ._stop import StopToken as StopToken
from ._stop import safe_point as safe_point
from ._stop import stop_token as stop_token
from ._stream import Results as Results
from ._threads import run_sync as run_sync

__all__ = (
    "CallInfo",
    "Interrupted",
    "Results",
    "Runner",
    "StopSource",
    "StopToken",
    "Stopped",
    "run",
    "run_sync",
    "safe_point",
    "stop_token",
)
