"""AnyIO's worker threads, made daemons: the one private name of AnyIO that asyncrun touches.

`anyio._backends._asyncio.WorkerThread` is a `threading.Thread` that is not a daemon, so
`threading._shutdown` joins it at exit, for as long as its call is stuck. Under Trio threads are
daemons anyway.

Rule of this module: a daemon in its place changes only what becomes of threads that were abandoned.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import threading

_MODULE: Final = "anyio._backends._asyncio"
_patched = False


class NotDaemonError(Exception):
    """This thread was started before the patch: a call must not run in it.

    Then `stop_idle_thread` it, and try again.
    """

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(f"{thread.name} is not a daemon")
        self.thread = thread


def make_threads_daemons() -> bool:
    """Make all worker threads daemons that AnyIO starts from now on; return whether that is so."""
    global _patched  # noqa: PLW0603 - it tells what was done to another module's global
    if _patched or (backend := sys.modules.get(_MODULE)) is None:
        return _patched
    original: type[threading.Thread] | None = getattr(backend, "WorkerThread", None)
    if original is None:
        message = f"{_MODULE} has no WorkerThread: a stuck call will hold up the exit"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return False

    class WorkerThread(original):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.daemon = True

    backend.WorkerThread = WorkerThread  # type: ignore[attr-defined]
    _patched = True
    return True


def stop_idle_thread(thread: Any) -> None:
    """Do what AnyIO does with a thread that was idle for too long."""
    thread.root_task.remove_done_callback(thread.stop)
    thread.stop()
