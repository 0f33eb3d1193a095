"""An asyncio and Trio task runner, built on AnyIO, in which every task can be stopped."""

from typing import TYPE_CHECKING

from ._calls import CallInfo as CallInfo
from ._entry import run as run
from ._errors import CallTimeoutError as CallTimeoutError
from ._errors import Interrupted as Interrupted
from ._errors import ItemTimeoutError as ItemTimeoutError
from ._errors import SerializationError as SerializationError
from ._errors import Stopped as Stopped
from ._errors import WorkerStartError as WorkerStartError
from ._runner import Runner as Runner
from ._stop import StopSource as StopSource
from ._stop import StopToken as StopToken
from ._stop import safe_point as safe_point
from ._stop import stop_token as stop_token
from ._stream import Results as Results
from ._threads import run_sync as run_sync

if TYPE_CHECKING:
    from ._death import WorkerDied as WorkerDied
    from ._executor import Executor as Executor
del TYPE_CHECKING

__all__ = (
    "CallInfo",
    "CallTimeoutError",
    "Executor",
    "Interrupted",
    "ItemTimeoutError",
    "Results",
    "Runner",
    "SerializationError",
    "StopSource",
    "StopToken",
    "Stopped",
    "WorkerDied",
    "WorkerStartError",
    "run",
    "run_sync",
    "safe_point",
    "stop_token",
)


def __getattr__(name: str) -> object:
    # `concurrent.futures` takes longer to import than all the rest, and Trio does without it.
    if name == "Executor":
        from ._executor import Executor  # noqa: PLC0415

        thing: object = Executor
    elif name == "WorkerDied":
        from ._death import WorkerDied  # noqa: PLC0415

        thing = WorkerDied
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
