"""Call a function where AnyIO lacks its private name."""

from __future__ import annotations

import threading
import warnings

import anyio
import anyio._backends._asyncio as private

import asyncrun


def is_daemon() -> bool:
    return threading.current_thread().daemon


async def main() -> None:
    worker = private.WorkerThread
    del private.WorkerThread
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with anyio.CancelScope() as scope:
            scope.cancel()  # before AnyIO would need it
            await asyncrun.run_sync(str)
    print(*[warning.message for warning in caught])
    private.WorkerThread = worker  # type: ignore[misc]
    print(await asyncrun.run_sync(is_daemon))


warnings.simplefilter("error")
anyio.run(main)
