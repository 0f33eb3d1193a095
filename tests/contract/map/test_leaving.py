"""Runner.map that is left early, in whatever way: what runs is flagged, nothing stays behind."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner, safe_point, stop_token
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncrun._runner.map_results import MapResults
    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


class LeavingError(Exception):
    pass


async def _leave(how: str, scope: anyio.CancelScope) -> None:
    if how == "error":
        raise LeavingError
    if how == "cancellation":
        scope.cancel()
        await anyio.sleep_forever()


@pytest.mark.parametrize("how", ["break", "error", "cancellation"])
@pytest.mark.parametrize("ordered", [True, False])
async def test_what_runs_is_asked_to_stop_and_what_waits_is_dropped(
    held_call: type[HeldCall], how: str, ordered: bool
) -> None:
    made, called = [held_call(), held_call()], list[int]()

    def call(number: int) -> int:
        called.append(number)
        if 0 < number < 3:
            made[number - 1].cooperative()
        return number

    async with Runner(max_threads=2, grace=PATIENCE) as runner:
        results = runner.map(call, range(1000), ordered=ordered)
        with suppress(LeavingError), anyio.CancelScope() as scope:
            async with results:
                async for number in results:
                    assert number == 0
                    for blocked in made:
                        await blocked.inside.wait()
                    await _leave(how, scope)
                    break
        assert how == "cancellation" or all(blocked.left.is_set() for blocked in made)
        for blocked in made:
            await until(blocked.left.is_set)
            assert blocked.token.reason == "its map was left"
        assert sorted(called) == [0, 1, 2]
        assert results.started == 3
        assert results.running == 0
        await until(lambda: runner._group._tasks == 0)
        assert await runner.run_sync(str, 1) == "1"
    assert sorted(called) == [0, 1, 2]


# rule 9
async def test_leaving_waits_for_calls_that_met_a_safe_point(held_call: type[HeldCall]) -> None:
    blocked, done = held_call(), list[str]()

    def call(_: int) -> None:
        safe_point()
        blocked.stuck()
        done.append("cleaned up")

    async def open_it() -> None:
        await anyio.wait_all_tasks_blocked()
        assert done == []
        blocked.released.set()

    async with Runner(grace=PATIENCE) as runner:
        async with runner.map(call, range(1)):
            await blocked.inside.wait()
            runner.start_soon(open_it)
        assert done == ["cleaned up"]
        assert runner.calls() == []


# rules 9 and 10
async def test_leaving_does_not_wait_for_calls_that_met_none(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with Runner(grace=PATIENCE) as runner:
        async with runner.map(lambda blocked: blocked.stuck(), [blocked]):
            await blocked.at_rest(runner)
        assert [info.stopping for info in runner.calls()] == [True]
        assert caplog.records == []
    assert not blocked.left.is_set()
    assert "left running" in caplog.text


# rule 9
async def test_the_grace_is_bounded_and_is_not_spent_twice(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()

    def look_once(_: int) -> None:
        safe_point()
        blocked.stuck()

    async with Runner(grace=0.2) as runner:
        async with runner.map(look_once, range(1)):
            await blocked.inside.wait()
            before = anyio.current_time()
        assert anyio.current_time() >= before + 0.2  # as the deadline is made: without a rounding
        (item,) = runner._group.running_calls()
        assert not item.is_cooperative()  # so that the runner does not wait for it again
    assert not blocked.left.is_set()
    assert "left running" in caplog.text


async def test_a_cancellation_cuts_the_grace_short(held_call: type[HeldCall]) -> None:
    blocked = held_call()

    def look_once(_: int) -> None:
        safe_point()
        blocked.stuck()

    async with Runner(grace=PATIENCE) as runner:
        with anyio.CancelScope() as scope:

            async def cancel() -> None:
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

            async with runner.map(look_once, range(1)):
                await blocked.inside.wait()
                runner.start_soon(cancel)
        assert scope.cancelled_caught
        assert not blocked.left.is_set()
        blocked.released.set()


@pytest.mark.parametrize("how", ["break", "error", "cancellation"])
async def test_an_async_input_has_ended_when_the_block_is_left(how: str) -> None:
    closed, begun = list[str](), anyio.Event()

    async def items() -> AsyncIterator[int]:
        try:
            yield 0
            begun.set()
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            closed.append("input")

    async with Runner() as runner:
        with suppress(LeavingError), anyio.CancelScope() as scope:
            async with runner.map(int, items()) as results:
                async for _ in results:
                    await begun.wait()
                    await _leave(how, scope)
                    break
        # What the input uses may be closed after the block.
        assert closed == ["input"]


async def test_a_reader_in_another_task_is_told_that_the_map_was_left(
    held_call: type[HeldCall],
) -> None:
    blocked, told = held_call(), list[str]()

    async def read(results: MapResults[str]) -> None:
        with pytest.raises(RuntimeError, match="was left already; use it as `async with") as caught:
            await anext(results)
        told.append(str(caught.value))

    async with Runner() as runner, anyio.create_task_group() as group:
        results = runner.map(lambda blocked: blocked.stuck(), [blocked])
        async with results:
            for _ in range(3):
                group.start_soon(read, results)
            await blocked.inside.wait()
            await anyio.wait_all_tasks_blocked()
        await until(lambda: len(told) == 3)
        blocked.released.set()


# rule 8
@pytest.mark.parametrize("how", ["break", "error", "cancellation"])
async def test_an_error_that_was_not_read_before_leaving_is_logged(
    caplog: pytest.LogCaptureFixture, how: str
) -> None:
    def fail(item: int) -> None:
        raise LookupError("nobody has read it")

    async with Runner() as runner:
        with suppress(LeavingError), anyio.CancelScope() as scope:
            async with runner.map(fail, range(1)) as results:
                await until(lambda: results._batch.failures)
                await _leave(how, scope)
        assert "nobody has read it" in caplog.text


# rule 8
async def test_an_error_that_comes_just_while_the_map_is_left_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_between, left = anyio.Event(), threading.Event()

    def fail(item: int) -> None:
        raise LookupError("nobody has read it")

    async with Runner() as runner:
        results = runner.map(fail, range(1))
        settle = results._batch.set_outcome

        def held(_: object, *outcome: Any) -> None:  # after it is no longer busy, before it fails
            anyio.from_thread.run_sync(in_between.set)
            assert left.wait(PATIENCE)
            settle(*outcome)

        monkeypatch.setattr(type(results._batch), "set_outcome", held)
        async with results:
            await in_between.wait()
        left.set()
    with anyio.move_on_after(2):
        await until(lambda: caplog.records)
    assert "nobody has read it" in caplog.text


async def test_nothing_spins_while_a_cancelled_block_cleans_up(
    held_call: type[HeldCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked, begun = held_call(), 0

    async with anyio.create_task_group() as outer, Runner(max_threads=2) as runner:
        results = runner.map(lambda blocked: blocked.stuck(), [blocked] * 9)
        serve = results._scheduler._run_consumer

        async def counted() -> None:
            nonlocal begun
            begun += 1
            await serve()

        monkeypatch.setattr(results._scheduler, "_run_consumer", counted)
        async with results:
            await blocked.inside.wait()
            outer.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(100):
                    await anyio.lowlevel.checkpoint()
            blocked.released.set()
            await anyio.lowlevel.checkpoint()
    assert begun < 10


class Big:
    pass


class Source:
    """An input, async or not, that holds none of its items."""

    def __init__(self, kept: list[weakref.ref[Any]]) -> None:
        self.kept = kept

    def make(self) -> Big:
        item = Big()
        self.kept.append(weakref.ref(item))
        return item


class SyncSource(Source):
    def __iter__(self) -> SyncSource:
        return self

    def __next__(self) -> Big:
        return self.make()


class AsyncSource(Source):
    def __aiter__(self) -> AsyncSource:
        return self

    async def __anext__(self) -> Big:
        await anyio.lowlevel.checkpoint()
        return self.make()


async def _alive(kept: list[weakref.ref[Any]], *, collect: bool = False) -> list[str]:
    """Return what lives on; a thread or a task may need a moment to let go."""
    with anyio.move_on_after(1):
        while any(ref() is not None for ref in kept):
            await anyio.lowlevel.checkpoint()
            if collect:
                gc.collect()
    return [type(ref()).__name__ for ref in kept if ref() is not None]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No reference cycle must be needed to be found."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("failing", [True, False])
async def test_what_was_delivered_is_not_kept(ordered: bool, failing: bool) -> None:
    kept: list[weakref.ref[Any]] = []

    class BigError(Exception):
        pass

    def call(item: Big) -> Big:
        result = BigError() if failing else Big()
        kept.append(weakref.ref(result))
        if isinstance(result, Big):
            return result
        try:
            raise result
        finally:
            del result

    async with (
        Runner(max_threads=2) as runner,
        runner.map(
            call, SyncSource(kept), ordered=ordered, buffersize=1, return_exceptions=True
        ) as results,
    ):
        for number in range(10):
            result: object = await anext(results)
            assert len(kept) == 2 * number + 2
            del result
            assert await _alive(kept) == []


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("source", [SyncSource, AsyncSource])
async def test_nothing_is_kept_after_the_block(ordered: bool, source: Any) -> None:
    kept: list[weakref.ref[Any]] = []

    def call(item: Big) -> Big:
        result = Big()
        kept.append(weakref.ref(result))
        return result

    given = source(kept)
    kept.append(weakref.ref(given))
    async with Runner(max_threads=2) as runner:
        async with runner.map(call, given, ordered=ordered, buffersize=10) as results:
            del given
            async for result in results:
                del result
                break
            await until(lambda: results.done == results._input.pulled)
        # A task that was cancelled leaves reference cycles under asyncio.
        assert await _alive(kept, collect=source is AsyncSource) == []
        assert results.done > 0  # while its counters are


async def test_a_map_that_was_left_leaves_room_for_the_next_many_times() -> None:
    async with Runner(max_threads=2) as runner:
        for _ in range(200):
            async with runner.map(str, iter(int, 1)) as results:
                assert await anext(results) == "0"
        await until(lambda: not runner.calls())
        await until(lambda: runner._group._tasks == 0)


# rule 3
async def test_a_token_callback_runs_when_the_map_is_left(held_call: type[HeldCall]) -> None:
    blocked = held_call()

    def call(_: int) -> None:
        with stop_token().on_stop(blocked.released.set):
            blocked.stuck()

    async with Runner(grace=PATIENCE) as runner:
        async with runner.map(call, range(1)):
            await blocked.inside.wait()
        assert blocked.left.is_set()
