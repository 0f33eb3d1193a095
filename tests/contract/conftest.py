"""Fixtures that hold a blocking call at a known point.

It is a `HeldCall`, or without AnyIO a `HeldThreadCall`, or where the call may be in another process
a `HeldProcessCall`.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import anyio
import anyio.from_thread
import pytest

import asyncrun
from tests.conftest import BACKENDS
from tests.contract.fresh_threads import FreshThreads
from tests.contract.jobs import HeldProcessCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
    from pathlib import Path

PATIENCE = 30.0
AnyWorker = Literal["thread", "process"] | FreshThreads


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; a loop that only turned would keep the threads from the GIL."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - whatever it is
            await anyio.sleep(0.001)


class HeldCall:
    """A blocking call in the hands of a test: it says that it is in, and stays until let out."""

    def __init__(self) -> None:
        self.inside = anyio.Event()
        self.released = threading.Event()
        self.left = threading.Event()
        self.token = asyncrun.StopSource().token

    def stuck(self) -> str:
        """Block without ever looking at the flag."""
        self.enter()
        assert self.released.wait(PATIENCE)
        self.left.set()
        return "late"

    def cooperative(self) -> None:
        """Block at a safe point."""
        asyncrun.safe_point()
        self.enter()
        try:
            asyncrun.stop_token().sleep(PATIENCE)
        finally:
            self.left.set()

    async def at_rest(self, runner: asyncrun.Runner, number: int = 1) -> None:
        """Wait until so many calls of the runner are in the body of `stuck`."""
        while [__file__ in str(info.where) for info in runner.calls()] != [True] * number:  # noqa: ASYNC110
            await anyio.sleep(0.001)

    def enter(self) -> None:
        self.token = asyncrun.stop_token()
        anyio.from_thread.run_sync(self.inside.set)


@pytest.fixture
def held_call(nothing_is_left: None) -> Iterator[type[HeldCall]]:
    """Make gates; all are opened at the end."""
    made: list[HeldCall] = []

    class KnownGate(HeldCall):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    yield KnownGate
    for each in made:
        each.released.set()


class HeldThreadCall:
    """A blocking call in the hands of a test: it says that it is in, and stays until let out."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.released = threading.Event()
        self.left = threading.Event()
        self.token = asyncrun.StopSource().token

    def stuck(self, _: object = None) -> str:
        """Block without ever looking at the flag."""
        self.token = asyncrun.stop_token()
        self.inside.set()
        assert self.released.wait(PATIENCE)
        self.left.set()
        return "late"

    def cooperative(self, _: object = None) -> None:
        """Block at a safe point, and clean up when it is passed."""
        asyncrun.safe_point()
        self.token = asyncrun.stop_token()
        self.inside.set()
        try:
            self.token.sleep(PATIENCE)
        finally:
            self.left.set()

    @staticmethod
    def do(func: Callable[[], object]) -> None:
        """Call something."""
        func()

    def enter(self) -> None:
        """Wait until the call is in."""
        assert self.inside.wait(PATIENCE)


@pytest.fixture
def held_thread_call(nothing_is_left: None) -> Iterator[type[HeldThreadCall]]:
    """Make doors; all are opened at the end."""
    made: list[HeldThreadCall] = []

    class KnownDoor(HeldThreadCall):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    yield KnownDoor
    for each in made:
        each.released.set()


def wait_until(condition: Callable[[], object]) -> None:
    """Block until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "this takes too long"
        time.sleep(0)


@pytest.fixture(params=["run_sync", "Runner.run_sync"])
def offloading(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return the ways to await a blocking call: ``async with offloading() as call``."""

    @asynccontextmanager
    async def plain(slots: int = 40) -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
        limiter = anyio.CapacityLimiter(slots)

        async def call(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
            return await asyncrun.run_sync(func, *args, limiter=limiter, **options)

        yield call

    @asynccontextmanager
    async def runner(slots: int = 40) -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
        async with asyncrun.Runner(max_threads=slots) as runner:
            yield runner.run_sync

    return plain if request.param == "run_sync" else runner


@pytest.fixture(params=["thread", "process", "fresh threads"])
def worker(request: pytest.FixtureRequest) -> AnyWorker:
    """Return each kind of worker, and one that is only made of the protocols (rule 22)."""
    return FreshThreads() if request.param == "fresh threads" else request.param


def runner_of(worker: AnyWorker, slots: int, **options: Any) -> asyncrun.Runner:
    """Make a runner for a worker with so many slots."""
    if isinstance(worker, FreshThreads):
        worker.capacity = slots
    return asyncrun.Runner(max_threads=slots, max_processes=slots, **options)


def is_repetition(params: dict[str, Any]) -> bool:
    """Return whether a test with such parameters shows nothing that others do not show."""
    worker, backend = params.get("worker", "process"), params.get("anyio_backend")
    if worker == "fresh threads" and backend in (BACKENDS["uvloop"], BACKENDS["trio"]):
        return True  # the protocols know nothing of backends
    # Threads know nothing of processes that run already, nor of pickling.
    is_plain = (params.get("is_warm", "cold"), params.get("pickles", "plain")) == ("cold", "plain")
    return worker != "process" and not is_plain


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would only be repeated."""
    params = {item: getattr(getattr(item, "callspec", None), "params", {}) for item in items}
    repetitions = [item for item in items if is_repetition(params[item])]
    config.hook.pytest_deselected(items=repetitions)
    items[:] = [item for item in items if item not in set(repetitions)]


@pytest.fixture(autouse=True)
def lean() -> Iterator[None]:
    """Spare worker processes the import of pytest, which is this program's main module.

    And that of coverage: to start with it takes a second, and `tests/e2e` has what runs in there.
    """
    with pytest.MonkeyPatch.context() as patch:  # of its own, for a test may undo its own ones
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        patch.setattr(sys.modules["__main__"], "__spec__", None)
        patch.delattr(sys.modules["__main__"], "__file__", raising=False)  # pytest-xdist has none
        yield


@pytest.fixture
def held_process_call(
    nothing_is_left: None, tmp_path: Path
) -> Iterator[Callable[[], HeldProcessCall]]:
    """Make posts; all are opened at the end."""
    made: list[HeldProcessCall] = []

    def make() -> HeldProcessCall:
        place = tmp_path / str(len(made))
        place.mkdir()
        made.append(HeldProcessCall(str(place)))
        return made[-1]

    yield make
    for each in made:
        each.release()


async def brought(condition: Callable[[], object]) -> None:
    """Wait until another process has brought something about."""
    with anyio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - no event crosses the process boundary of a process
            await anyio.sleep(0.002)


async def told(held_process_call: HeldProcessCall, word: str = "inside") -> str:
    """Wait until a call has left word."""
    await brought(lambda: held_process_call.has(word))
    return held_process_call.read(word)
