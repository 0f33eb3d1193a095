"""An asyncio and Trio task runner, built on AnyIO, in which every task can be stopped."""

from typing import TYPE_CHECKING

from ._calls import CallInfo as CallInfo
from ._entry import run as run
from ._errors import Interrupted as Interrupted
from ._errors import Stopped as Stopped
from ._errors import WorkerDied as WorkerDied
from ._runner import Runner as Runner
from ._stop import StopSource as StopSource
from ._stop import StopToken as StopToken
from ._stop import safe_point as safe_point
from ._stop import stop_token as stop_token
from ._stream import Results as Results
from ._threads import run_sync as run_sync

if TYPE_CHECKING:
    from ._executor import Executor as Executor
del TYPE_CHECKING

__all__ = (
    "CallInfo",
    "Executor",
    "Interrupted",
    "Results",
    "Runner",
    "StopSource",
    "StopToken",
    "Stopped",
    "WorkerDied",
    "run",
    "run_sync",
    "safe_point",
    "stop_token",
)


def __getattr__(name: str) -> object:
    # `concurrent.futures` takes longer to import than all the rest, and Trio does without it.
    if name != "Executor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._executor import Executor  # noqa: PLC0415

    globals()[name] = Executor
    return Executor


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
