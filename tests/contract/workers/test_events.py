"""Each call is seen to start and to end, whatever runs it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrun import Runner
from asyncrun._core.events import observers, observing
from asyncrun.futures import ThreadPoolExecutor
from tests.contract import jobs
from tests.contract.conftest import brought, runner_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncrun._core.registry import RunningCall
    from tests.contract.conftest import AnyWorker
    from tests.contract.jobs import HeldProcessCall

pytestmark = pytest.mark.anyio


class Log:
    """An observer that keeps all that it hears."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.open: Counter[RunningCall] = Counter()
        self.errors: list[type[BaseException] | None] = []
        self.requeued = 0

    def call_started(self, call: RunningCall) -> None:
        self.names.append(call.name)
        self.open[call] += 1

    def call_ended(self, call: RunningCall, error: BaseException | None) -> None:
        self.open[call] -= 1
        self.errors.append(type(error) if error is not None else None)

    def call_requeued(self, call: RunningCall) -> None:
        self.open[call] -= 1
        self.requeued += 1

    def is_balanced(self) -> bool:
        return set(self.open.values()) <= {0}


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    with observing(log):
        yield log
    assert not observers


async def ended_once(log: Log) -> None:
    """Wait until the one call has ended, and check that no second end was seen."""
    await brought(log.is_balanced)
    assert len(log.errors) == 1


async def test_a_call_of_a_runner_starts_and_ends_once(worker: AnyWorker, log: Log) -> None:
    async with Runner() as runner:
        assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
        assert (log.names, log.errors, log.is_balanced()) == (["square"], [None], True)
        with pytest.raises(LookupError):
            await runner.run_sync(jobs.fail, "no", worker=worker, name="mine")
        assert (log.names[1:], log.errors[1:]) == (["mine"], [LookupError])
        assert log.is_balanced()


async def test_an_item_of_a_map_starts_and_ends_once(worker: AnyWorker, log: Log) -> None:
    async with (
        runner_of(worker, 2) as runner,
        runner.map(
            jobs.square_of_even, range(200), worker=worker, return_exceptions=True
        ) as results,
    ):
        assert len([result async for result in results]) == 200
    assert Counter(log.errors) == {None: 67, LookupError: 67, ValueError: 66}
    assert len(log.names) == 200 + log.requeued
    assert log.is_balanced()


async def test_a_call_that_is_left_ends_when_its_worker_has_ended_it(
    worker: AnyWorker, log: Log, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    held = held_process_call()
    async with Runner(grace=30) as runner:
        handle = runner.submit(jobs.linger, held.path, worker=worker)
        await told(held)
        handle.cancel()
        await handle.wait()
        assert log.names == ["linger"]
        assert log.errors == []
        held.release()
    await ended_once(log)


async def test_an_item_that_is_left_ends_when_its_worker_has_ended_it(
    worker: AnyWorker, log: Log, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    held = held_process_call()
    async with runner_of(worker, 1, grace=30) as runner:
        async with runner.map(jobs.linger, [held.path], worker=worker):
            await told(held)
            held.release()
        assert log.names == ["linger"]
    await ended_once(log)


async def test_a_call_that_never_begins_is_not_seen(
    worker: AnyWorker, log: Log, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    held = held_process_call()
    async with runner_of(worker, 1) as runner:
        runner.submit(jobs.stuck, held.path, worker=worker)
        await told(held)
        waiting = runner.submit(jobs.square, 3, worker=worker)
        await anyio.wait_all_tasks_blocked()
        waiting.cancel()
        held.release()
    assert (log.names, log.errors, log.is_balanced()) == (["stuck"], [None], True)


def test_calls_and_items_of_an_executor_are_seen(log: Log) -> None:
    with ThreadPoolExecutor(2) as executor:
        future = executor.submit(jobs.square, 3)
        failing = executor.submit(jobs.fail, "no")
        assert future.result() == 9
        assert list(executor.map(jobs.square, range(10))) == [i * i for i in range(10)]
        assert isinstance(failing.exception(), LookupError)
    assert Counter(log.names) == {"square": 11, "fail": 1}
    assert Counter(log.errors) == {None: 11, LookupError: 1}
    assert log.is_balanced()


async def test_an_observer_that_fails_is_logged_and_changes_nothing(
    worker: AnyWorker, caplog: pytest.LogCaptureFixture
) -> None:
    observer: Any = object()
    async with Runner() as runner:
        with observing(observer):
            assert await runner.run_sync(jobs.square, 3, worker=worker) == 9
    assert [record.getMessage() for record in caplog.records] == ["an observer of calls failed"] * 2
