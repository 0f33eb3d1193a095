"""How many functions of asyncrun a call and an item pass through, as CONTRIBUTING lists them."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import asyncrun
from asyncrun import Runner
from asyncrun._workers.thread import item_loop
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

pytestmark = pytest.mark.anyio

OWN: Final = str(Path(asyncrun.__file__).parent)
CONTRIBUTING: Final = Path(__file__).parents[2] / "CONTRIBUTING.md"


class Walk:
    """Records which functions of asyncrun this thread calls, and each one that starts from now on.

    Generators and comprehensions are part of the function that they are written in.
    """

    def __init__(self) -> None:
        self.functions: set[str] = set()
        threading.setprofile(self._record)
        sys.setprofile(self._record)

    def close(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OWN):
            self.functions.add(code.co_qualname.partition(".<locals>")[0])


@pytest.fixture
def anyio_backend() -> str:
    """Only one: its threads are new ones, and are recorded from their start."""
    return "asyncio"


@pytest.fixture
def walk() -> Iterator[Walk]:
    walk = Walk()
    yield walk
    walk.close()


def listed(title: str) -> set[str]:
    """Return the functions that the numbered steps of a flow in the tour name."""
    _, _, flow = CONTRIBUTING.read_text("utf-8").partition(f"\n### {title}")
    flow, _, _ = flow.partition("\nThese are all")
    flow, _, _ = flow.partition("\n5. If the await is cancelled")
    _, _, flow = flow.partition("\n1. ")
    return set(re.findall(r"`(\w+\.\w+|[a-z]+(?:_[a-z]+)*)`", flow))


def same(value: int) -> int:
    return value


async def test_a_call_in_a_thread(walk: Walk) -> None:
    async with Runner(max_threads=1) as runner:
        await runner.run_sync(same, 1)
        walk.functions.clear()
        await runner.run_sync(same, 2)
        walked = set(walk.functions)
        assert walked == listed("A call in a thread")
        assert len(walked) <= 20


_in_worker: list[Walk] = []


def item(number: int) -> list[str]:
    """Record in the worker process from the first item to the third."""
    if number == 1:
        _in_worker.append(Walk())
    return sorted(_in_worker[0].functions)


async def test_an_item_in_a_process(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_loop, "IDLE_TIMEOUT", PATIENCE)  # one loop takes all three
    async with (
        Runner(max_processes=1) as runner,
        runner.map(item, [1, 2, 3], worker="process", buffersize=1) as results,
    ):
        await anext(results)
        await until(lambda: results._batch.idle)  # the loop is done with it, and waits for an item
        walk.functions.clear()
        await anext(results)
        await until(lambda: results._batch.idle)
        walked = set(walk.functions)
        in_worker = set(await anext(results))
        tour = listed("An item in a process")
        assert walked | in_worker <= tour
        assert len(tour) <= 70
        # Neither side need wait for the other, if that one is faster.
        assert tour - walked - in_worker <= {
            *("MapResults._wait", "Batch.reader_waiting", "MapResults._has_progress"),
            *("Batch.notify_reader", "threadsafe_caller", "SlotQueue.should_yield"),
            *("WorkerProcess._wait_io", "StopSequence.should_request", "ProcessChannels.select"),
        }
