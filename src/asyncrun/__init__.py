"""An asyncio and Trio task runner, built on AnyIO, in which every task can be stopped."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import futures as futures
    from . import joblib as joblib
    from ._core.current import safe_point as safe_point
    from ._core.current import stop_token as stop_token
    from ._core.errors import CallTimeoutError as CallTimeoutError
    from ._core.errors import Interrupted as Interrupted
    from ._core.errors import ItemTimeoutError as ItemTimeoutError
    from ._core.errors import SerializationError as SerializationError
    from ._core.errors import Stopped as Stopped
    from ._core.errors import WorkerStartError as WorkerStartError
    from ._core.registry import CallInfo as CallInfo
    from ._core.stop import StopSource as StopSource
    from ._core.stop import StopToken as StopToken
    from ._entry.run import run as run
    from ._runner.map_results import MapResults as MapResults
    from ._runner.run_sync import run_sync as run_sync
    from ._runner.runner import Runner as Runner
    from ._workers.process.worker import ProcessWorkers as ProcessWorkers
    from ._workers.remote.errors import WorkerDied as WorkerDied
del TYPE_CHECKING

__all__ = (
    "CallInfo",
    "CallTimeoutError",
    "Interrupted",
    "ItemTimeoutError",
    "MapResults",
    "ProcessWorkers",
    "Runner",
    "SerializationError",
    "StopSource",
    "StopToken",
    "Stopped",
    "WorkerDied",
    "WorkerStartError",
    "futures",
    "joblib",
    "run",
    "run_sync",
    "safe_point",
    "stop_token",
)


# Each name is imported when it is used: a synchronous program on `asyncrun.futures` does without
# AnyIO, and a program without processes without `multiprocessing`.
_MODULES = {
    "CallInfo": "._core.registry",
    "CallTimeoutError": "._core.errors",
    "Interrupted": "._core.errors",
    "ItemTimeoutError": "._core.errors",
    "MapResults": "._runner.map_results",
    "ProcessWorkers": "._workers.process.worker",
    "Runner": "._runner.runner",
    "SerializationError": "._core.errors",
    "StopSource": "._core.stop",
    "StopToken": "._core.stop",
    "Stopped": "._core.errors",
    "WorkerDied": "._workers.remote.errors",
    "WorkerStartError": "._core.errors",
    "futures": ".futures",
    "joblib": ".joblib",
    "run": "._entry.run",
    "run_sync": "._runner.run_sync",
    "safe_point": "._core.current",
    "stop_token": "._core.current",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    module = import_module(_MODULES[name], __name__)
    thing: object = module if _MODULES[name] == f".{name}" else getattr(module, name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
