"""Run tests of CPython with our executors in place of its own: ``asyncio MODULE NAME``."""

from __future__ import annotations

import concurrent.futures.process
import concurrent.futures.thread
import importlib
import sys
import unittest
from typing import TYPE_CHECKING, Any, Final

from asyncrun import futures

if TYPE_CHECKING:
    from collections.abc import Iterator

ISOLATED: Final = "what goes wrong with one call costs that call, and the pool is not broken"
NO_MANAGER: Final = "there is no manager thread and no call queue to be joined"

DEVIATIONS: Final = {
    "Fork": "workers are always spawned",
    "test_hang_global_shutdown_lock": "workers are always spawned",
    "test_forkserver": "workers are always spawned",
    "test_killed_child": ISOLATED,
    "test_error_at_task_unpickle": ISOLATED,
    "test_error_during_result_unpickle_in_result_handler": ISOLATED,
    "test_exit_at_task_unpickle": ISOLATED,
    "test_exit_during_result_unpickle_in_result_handler": ISOLATED,
    "test_shutdown_deadlock_pickle": NO_MANAGER,
    "test_del_shutdown (ProcessPool": NO_MANAGER,
    "test_shutdown_no_wait (ProcessPool": NO_MANAGER,
    "test_saturation": "a call that cannot be pickled starts no process",
    "test_processes_terminate": "a call that cannot be pickled starts no process",
    "test_python_finalization_error": "a second thread that cannot start is not needed",
    "test_traceback": "the text of the traceback is in a RemoteTraceback of our own",
}
"""The tests of CPython that do not hold, by a part of the name, and why."""


def load(name: str) -> Iterator[unittest.TestCase]:
    todo: list[Any] = [unittest.defaultTestLoader.loadTestsFromName(name)]
    while todo:
        each = todo.pop()
        if isinstance(each, unittest.TestSuite):
            todo += each
            continue
        kind = type(each).__name__
        kind = kind.removeprefix("ProcessPoolSpawn") if "Spawn" in kind else kind
        test = f"{each.id().rpartition('.')[2]} ({kind}"
        if not any(part in test for part in DEVIATIONS):
            yield each


def main() -> None:
    for name in ("ThreadPoolExecutor", "ProcessPoolExecutor"):
        setattr(concurrent.futures, name, getattr(futures, name))
    concurrent.futures.thread.ThreadPoolExecutor = futures.ThreadPoolExecutor  # type: ignore[misc]
    concurrent.futures.process.ProcessPoolExecutor = futures.ProcessPoolExecutor  # type: ignore[misc]
    importlib.import_module(sys.argv[2])
    result = unittest.TextTestRunner(sys.stdout).run(unittest.TestSuite(load(sys.argv[3])))
    if result.errors or result.failures or not result.testsRun:
        sys.exit(1)


if __name__ == "__main__":
    main()
