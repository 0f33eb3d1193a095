"""A reader of Runner.map when others come in between."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from asyncrun import Runner, Stopped
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


async def test_an_error_is_never_taken_for_a_result() -> None:
    inside, go = anyio.Event(), threading.Event()

    class Failures(list[Any]):
        """The loop's thread is held before it has ended the map."""

        def append(self, failure: Any) -> None:
            anyio.from_thread.run_sync(inside.set)
            assert go.wait(PATIENCE)
            super().append(failure)

    def fail(item: int) -> None:
        raise LookupError(item)

    async def let_go() -> None:
        await anyio.wait_all_tasks_blocked()
        go.set()

    async with Runner() as runner:
        results = runner.map(fail, [1])
        results._batch.failures = Failures()
        async with results:
            await inside.wait()
            runner.start_soon(let_go)
            with pytest.raises(LookupError, match="1"):
                await anext(results)


async def test_a_map_with_a_stuck_item_still_gets_slots_of_another_one(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()

    def call(number: int) -> int:
        if number == 0:
            blocked.stuck()
        return number

    async def read() -> None:
        async with runner.map(str, itertools.count()) as endless:
            async for _ in endless:
                pass

    async with Runner(max_threads=2) as runner:
        async with runner.map(
            call, itertools.count(), item_timeout=0.05, return_exceptions=True
        ) as results:
            handle = runner.start_soon(read)
            assert isinstance(await anext(results), TimeoutError)
            with anyio.fail_after(PATIENCE):
                for number in range(1, 3000):
                    outcome = await anext(results)
                    # A thread that waits for the GIL, or for a core, may be late: it had a slot.
                    assert outcome == number or isinstance(outcome, TimeoutError)
        handle.cancel()
        blocked.released.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_input_that_is_cancelled_natively_is_an_error_and_no_hang() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async with Runner() as runner, runner.map(str, items()) as results:
        with anyio.fail_after(PATIENCE), pytest.raises(RuntimeError, match="was cancelled by its"):
            async for _ in results:
                pass


async def test_it_says_so_when_slots_become_stuck_while_it_waits_for_one(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()

    async def abandon() -> None:
        await anyio.wait_all_tasks_blocked()
        handle.cancel()
        await until(lambda: "every slot is held" in caplog.text)
        blocked.released.set()

    with caplog.at_level(logging.WARNING, "asyncrun"):
        async with Runner(max_threads=1) as runner:
            handle = runner.submit(blocked.stuck)
            await blocked.inside.wait()
            async with runner.map(str, range(3)) as results:
                runner.start_soon(abandon)
                assert [result async for result in results] == ["0", "1", "2"]
    assert caplog.text.count("every slot is held") == 1


class Restless:
    """An async input that never waits."""

    taken = 0

    def __aiter__(self) -> Restless:
        return self

    async def __anext__(self) -> int:
        self.taken += 1
        return self.taken


async def test_an_async_input_that_never_waits_lets_the_event_loop_turn() -> None:
    turns, many, items = 0, 50_000, Restless()

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with Runner() as runner:
        handle = runner.start_soon(tick)
        async with runner.map(str, items, buffersize=many) as results:
            await until(lambda: items.taken >= many)
            assert turns > 10
            assert await anext(results) == "1"
        handle.cancel()


class Unmeasured:
    """It can be iterated, and says that it has a length, but not which."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __len__(self) -> int:
        raise self._error

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2])


@pytest.mark.parametrize("error", [TypeError, ValueError, OverflowError, NotImplementedError])
async def test_an_input_without_a_length_to_tell_is_an_input(error: type[Exception]) -> None:
    async with Runner() as runner, runner.map(str, Unmeasured(error)) as results:
        assert results.total is None
        assert [result async for result in results] == ["1", "2"]


async def test_stopped_of_an_async_input_comes_to_the_reader_as_itself() -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise Stopped("enough")

    async with Runner() as runner, runner.map(str, items()) as results:
        assert await anext(results) == "1"
        with pytest.raises(Stopped, match="enough"):
            await anext(results)


async def test_the_items_run_in_the_context_of_who_entered_the_map() -> None:
    variable = contextvars.ContextVar("variable", default="nobody's")

    async def read() -> None:
        variable.set("the reader's")
        async for result in results:
            got.add(result)

    got = set[str]()
    variable.set("the enterer's")
    async with (
        Runner() as runner,
        runner.map(lambda _: variable.get(), range(100), buffersize=1) as results,
    ):
        await runner.start_soon(read)
    assert got == {"the enterer's"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_that_an_item_raises_is_an_error_for_the_reader() -> None:
    def fail(_: int) -> None:
        raise asyncio.CancelledError

    async with Runner() as runner, runner.map(fail, [1]) as results:
        with pytest.raises(RuntimeError, match="CancelledError was raised where"):
            await anext(results)


async def test_the_note_of_a_long_bytes_item_is_made_of_its_beginning() -> None:
    long = [b"y" * 10**7]
    async with Runner() as runner, runner.map(int, long, return_exceptions=True) as results:
        error: Any = await anext(results)
        (note,) = error.__notes__
        assert note.startswith("item 0 of the map: b'yyy")
        assert len(note) < 150
