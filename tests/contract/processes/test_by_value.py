"""Functions, arguments, results and errors that plain pickle cannot reach by their names."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from asyncrun import ProcessWorkers, Runner
from asyncrun._workers.process.handle import WorkerProcess
from asyncrun.futures import ProcessPoolExecutor
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


async def test_lambdas_and_closures_run_in_processes() -> None:
    offset = 10

    def add(number: int) -> tuple[int, int]:
        return number + offset, os.getpid()

    results: list[tuple[int, int]] = []
    async with Runner(max_processes=1) as runner:
        results += [await runner.run_sync(add, 1, worker="process")]
        results += [await runner.submit(lambda n: add(n), 2, worker="process")]  # noqa: PLW0108
        async with runner.map(add, [3, 4], worker="process") as mapped:
            results += [each async for each in mapped]
    numbers, pids = zip(*results, strict=True)
    assert numbers == (11, 12, 13, 14)
    assert len({*pids, os.getpid()}) == 2


async def test_what_comes_back_is_of_the_class_that_was_sent() -> None:
    class Box:
        def __init__(self, number: int) -> None:
            self.number = number

    class BoxError(Exception):
        pass

    def double(box: Box) -> Box:
        assert isinstance(box, Box)
        if box.number < 0:
            raise BoxError(box) from BoxError("inner")
        return Box(2 * box.number)

    async with Runner(max_processes=1) as runner:
        box = await runner.run_sync(double, Box(4), worker="process")
        assert (type(box), box.number) == (Box, 8)
        with pytest.raises(BoxError) as caught:
            await runner.run_sync(double, Box(-1), worker="process")
        assert type(caught.value.args[0]) is Box
        assert type(caught.value.__cause__) is BoxError


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note for each call whether the function went with it."""
    found: list[bool] = []
    send = WorkerProcess.send

    def spy(self: WorkerProcess, function: bytes, arguments: bytes) -> None:
        found.append(function is not self.known_function)
        send(self, function, arguments)

    monkeypatch.setattr(WorkerProcess, "send", spy)
    return found


async def test_a_function_is_sent_once_to_a_process_as_long_as_it_refers_to_the_same(
    sent: list[bool],
) -> None:
    offset = 10

    def add(number: int) -> int:
        return number + offset

    async with Runner(max_processes=1) as runner:
        assert [await runner.run_sync(add, n, worker="process") for n in range(3)] == [10, 11, 12]
        assert sent == [True, False, False]
        offset = 20
        assert [await runner.run_sync(add, n, worker="process") for n in range(2)] == [20, 21]
        assert sent == [True, False, False, True, False]


async def test_a_method_is_sent_with_what_its_object_is_at_the_time(sent: list[bool]) -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def up(self) -> int:
            self.count += 1
            return self.count

    counter = Counter()
    async with Runner(max_processes=1) as runner:
        assert [await runner.run_sync(counter.up, worker="process") for _ in range(2)] == [1, 1]
    assert sent == [True, True]


async def test_an_initializer_by_value_may_have_locks_among_its_arguments() -> None:
    semaphore = multiprocessing.get_context("spawn").Semaphore(0)

    class Releaser:
        def release(self) -> None:
            semaphore.release()

    def initialize(releaser: Releaser) -> None:
        releaser.release()

    workers = ProcessWorkers(1, initializer=initialize, initargs=(Releaser(),))
    async with Runner() as runner:
        await runner.run_sync(int, worker=workers)
    assert semaphore.acquire(timeout=PATIENCE)


def test_an_executor_takes_lambdas_for_single_calls_and_maps() -> None:
    calls: list[Callable[[int], int]] = [lambda n: n + 1, lambda n: n * 2]
    with ProcessPoolExecutor(2) as executor:
        futures = [executor.submit(each, n) for n in range(3) for each in calls]
        assert [future.result(PATIENCE) for future in futures] == [1, 0, 2, 2, 3, 4]
        assert list(executor.map(calls[0], range(3))) == [1, 2, 3]
