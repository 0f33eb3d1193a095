"""Registries that do not keep what they list: no Python code runs when that is freed.

A garbage collection frees it at any moment, and a KeyboardInterrupt that is raised in a weak
reference's callback would be printed and lost.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import StopSource
from asyncrun._core import registry
from asyncrun._executors.pool import threads
from asyncrun._executors.pool.threads import Pool
from asyncrun._workers.process import handle
from asyncrun._workers.process.child.main import WorkerBootstrap
from asyncrun._workers.process.handle import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from types import FrameType

parent = StopSource()


class Source:
    """Something that knows calls of its own."""

    def __init__(self) -> None:
        registry.register(self)

    def running_calls(self) -> list[registry.RunningCall]:
        return []

    def is_busy(self) -> bool:
        return False


def make_pool() -> Pool:
    return Pool(
        "a pool", prefix="thread", size=1, grace=1.0, initialize=None, make_broken_error=LookupError
    )


def make_process() -> WorkerProcess:
    process = WorkerProcess(None, 1.0, WorkerBootstrap, {})
    process.close_fds()
    return process


@pytest.mark.parametrize(
    ("make", "links"),
    [
        (Source, registry._sources),
        (make_pool, threads._pools),
        (make_process, handle._known),
        (lambda: StopSource(parent.token), parent.token._children),
    ],
    ids=["source", "pool", "process", "token"],
)
def test_what_is_freed_is_forgotten_by_no_python_code(
    make: Callable[[], object], links: Sized
) -> None:
    gc.collect()  # what other tests have left is not to be freed meanwhile
    before = len(links)
    listed = [make()]
    assert len(links) == before + 1
    ran: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            ran.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    listed.clear()
    sys.setprofile(None)
    assert len(links) == before
    assert ran == []
