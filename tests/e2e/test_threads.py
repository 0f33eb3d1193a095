"""Threads that AnyIO started before us or the system refuses, and AnyIO's private name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio._backends._asyncio
import pytest

from tests.conftest import PROGRAMS
from tests.e2e.snippets import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.measured


# rule 11
def test_anyio_still_has_the_private_name_that_we_replace() -> None:
    worker = anyio._backends._asyncio.WorkerThread
    assert issubclass(worker, threading.Thread)
    assert hasattr(worker, "stop")


# rule 11
def test_a_thread_that_anyio_started_before_us_never_runs_our_calls(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROGRAMS / "threads_of_anyio.py", backend)
    status, output, errors = child.finish()
    assert (status, output) == (0, "done\n"), errors
    assert len(errors.splitlines()) == 1


# rule 11
def test_without_the_private_name_there_is_a_warning_and_calls_still_work(
    start: Callable[..., Child],
) -> None:
    child = start(PROGRAMS / "without_private_name.py")
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    message = "anyio._backends._asyncio has no WorkerThread: a stuck call will hold up the exit"
    assert output == f"{message}\nTrue\n"


# rule 7
def test_a_thread_that_the_system_refuses_is_an_error_of_that_call_alone(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROGRAMS / "refused_thread.py", backend)
    status, output, errors = child.finish()
    assert (status, output) == (0, "can't start new thread\ndone\n"), errors


# rule 17
def test_a_watchdog_thread_that_the_system_refuses_is_an_error_of_run_before_it_starts(
    start: Callable[..., Child],
) -> None:
    child = start(PROGRAMS / "refused_watchdog.py")
    assert child.finish() == (0, "can't start new thread\n", "")


# rule 11
def test_an_idle_thread_does_not_hold_up_a_normal_exit(
    start: Callable[..., Child], backend: str
) -> None:
    idle = """
import warnings
warnings.simplefilter("error")
anyio.run(asyncrun.run_sync, str, **run_options)
"""
    child = start(HEAD + idle, backend)
    assert child.finish() == (0, "", "")
