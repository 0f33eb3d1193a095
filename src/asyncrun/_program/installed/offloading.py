# pyright: basic
"""Ctrl-C where an event loop waits for threads: asyncio's, AnyIO's and Trio's own offloading.

A wait that a cancellation must not end (`trio.to_thread.run_sync`, `anyio.to_thread.run_sync`)
holds up the end of the program for as long as its thread is stuck.

Rules of this module:

- Only Ctrl-C is changed: it ends the waits that there are at that moment, as a cancellation ends
  those that may abandon their thread. Cancellations mean what they mean.
- Threads that AnyIO starts are daemons, as Trio's are.
- It reaches into private parts. Where one is not there any more, everything is as without it.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..._workers.thread.anyio_patch import make_threads_daemons
from .hooks import when_imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType, FrameType

INTERRUPTED: Final = "the program was interrupted"

listeners: Final[list[Callable[[int, bool], object]]] = []
"""Are called at a SIGINT that an event loop handles: with the signal, and whether the loop still
handles an earlier one."""


def install() -> None:
    """Put that in place."""
    when_imported("asyncio.runners", _change_asyncio)
    when_imported("anyio._backends._asyncio", lambda _: make_threads_daemons())
    when_imported("trio._core._ki", _change_trio)


def _notify(signum: int, *, is_second: bool) -> None:
    for listener in listeners:
        listener(signum, is_second)


def _change_asyncio(runners: Any) -> None:
    class Runner(runners.Runner):  # type: ignore[misc]
        """An `asyncio.Runner` whose interrupt ends the waits for threads."""

        def _on_sigint(self, signum: int, frame: FrameType | None, main_task: Any) -> None:
            _notify(signum, is_second=main_task.cancelling() > 0)
            if (anyio := sys.modules.get("anyio._backends._asyncio")) is not None:
                self._loop.call_soon_threadsafe(partial(_unshield, anyio, self._loop))
            super()._on_sigint(signum, frame, main_task)

        def close(self) -> None:
            """Close the loop, and stop what its default executor runs, after an interrupt."""
            executor: Any = getattr(self._loop, "_default_executor", None)
            stop = getattr(executor, "stop", None)
            if stop is not None and getattr(self, "_interrupt_count", None):
                stop(INTERRUPTED)
            super().close()

    Runner.__module__, Runner.__qualname__ = "asyncio.runners", "Runner"
    runners.Runner = Runner
    if (package := sys.modules.get("asyncio")) is not None and hasattr(package, "Runner"):
        package.Runner = Runner  # type: ignore[attr-defined]


def _unshield(backend: Any, loop: Any) -> None:
    import asyncio  # noqa: PLC0415 - it is there

    with suppress(AttributeError):  # another AnyIO
        code: CodeType = backend.AsyncIOBackend.run_sync_in_worker_thread.__func__.__code__
        for frame in _waiting(code, [task.get_coro() for task in asyncio.all_tasks(loop)]):
            if (scope := frame.f_locals.get("scope")) is not None:
                scope.shield = False


def _change_trio(ki: Any) -> None:
    if (manager := getattr(ki, "KIManager", None)) is None:
        return
    install_handler = manager.install

    def install(self: Any, *args: Any) -> None:
        install_handler(self, *args)
        if (handler := self.handler) is not None:
            self.handler = partial(_handle_in_trio, handler)
            import signal  # noqa: PLC0415 - Trio has it

            signal.signal(signal.SIGINT, self.handler)

    manager.install = install


def _handle_in_trio(
    handler: Callable[[int, FrameType | None], object], signum: int, frame: FrameType | None
) -> None:
    run: Any = sys.modules["trio._core._run"]
    runner = getattr(run.GLOBAL_RUN_CONTEXT, "runner", None)
    _notify(signum, is_second=bool(getattr(runner, "ki_pending", False)))
    with suppress(AttributeError, ValueError):  # another Trio
        _let_abandon(sys.modules["trio._threads"], runner)
    handler(signum, frame)


def _let_abandon(threads: Any, runner: Any) -> None:
    code: CodeType = threads.to_thread_run_sync.__code__
    for frame in _waiting(code, [task.coro for task in list(runner.tasks)]):
        if (abort := frame.f_locals.get("abort")) is not None:
            index = abort.__code__.co_freevars.index("abandon_bool")
            abort.__closure__[index].cell_contents = True


def _waiting(code: CodeType, coroutines: Iterable[Any]) -> Iterator[FrameType]:
    """Yield the frames of a coroutine function that coroutines are suspended in."""
    for each in coroutines:
        while each is not None:
            frame: FrameType | None = getattr(each, "cr_frame", None)
            if frame is not None and frame.f_code is code:
                yield frame
            each = getattr(each, "cr_await", None) or getattr(each, "gi_yieldfrom", None)  # noqa: PLW2901
