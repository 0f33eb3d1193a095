"""Runner.map when its runner ends: stopped, cancelled or failing, read by whoever."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import asyncrun
from asyncrun import Runner, Stopped, safe_point
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio

ENDS = ["stop", "stop in a thread", "sibling", "cancellation"]


async def _end(how: str, runner: Runner, scope: anyio.CancelScope) -> None:
    match how:
        case "stop":
            runner.stop("enough")
        case "stop in a thread":
            await asyncrun.run_sync(runner.stop, "enough")
        case "cancellation":
            scope.cancel()
        case _:

            async def fail() -> None:
                raise LookupError

            runner.start_soon(fail)


def _reason(how: str) -> str:
    if how == "sibling":
        return "its runner failed with LookupError"
    return "enough" if "stop" in how else "its runner was cancelled"


# rule 9
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("reader", ["block", "task"])
async def test_a_reader_of_the_runners_own_is_cancelled_with_it(
    held_call: type[HeldCall], how: str, reader: str
) -> None:
    blocked, ends, called = held_call(), list[str](), list[Any]()

    def call(item: HeldCall | int) -> None:
        called.append(item)
        assert not isinstance(item, int)
        item.cooperative()

    async def read(runner: Runner) -> None:
        try:
            async with runner.map(call, [blocked, *range(10)]) as results:
                await anext(results)
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise

    async def end(runner: Runner, scope: anyio.CancelScope) -> None:
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        await _end(how, runner, scope)

    runner, scope = Runner(max_threads=1, grace=PATIENCE), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        with scope:
            try:
                async with runner:
                    group.start_soon(end, runner, scope)
                    if reader == "block":
                        await read(runner)
                    runner.start_soon(read, runner)
            except* LookupError:
                assert how == "sibling"
        assert blocked.left.is_set()
    assert ends == ["cancelled"]
    assert called == [blocked]
    assert blocked.token.reason in {_reason(how), "its map was left"}


# rule 9
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("wait", ["safe point", "never"])
async def test_a_reader_outside_of_the_runner_gets_stopped(
    held_call: type[HeldCall], how: str, wait: str
) -> None:
    blocked, ends, called = held_call(), list[str](), list[Any]()
    left = anyio.Event()

    def call(item: HeldCall | int) -> None:
        called.append(item)
        assert not isinstance(item, int)
        item.cooperative() if wait == "safe point" else item.stuck()

    async def read(runner: Runner) -> None:
        results = runner.map(call, [blocked, *range(10)], return_exceptions=True)
        with pytest.raises(Stopped) as caught:
            async with results:
                await anext(results)
        assert caught.value.reason == _reason(how)
        assert results.running == 0
        ends.append("stopped")
        left.set()

    runner, scope = Runner(max_threads=1, grace=PATIENCE), anyio.CancelScope()
    async with anyio.create_task_group() as group:
        with scope:
            try:
                async with runner:
                    group.start_soon(read, runner)
                    await blocked.inside.wait()
                    await anyio.wait_all_tasks_blocked()
                    await _end(how, runner, scope)
                    await anyio.sleep_forever()
            except* LookupError:
                assert how == "sibling"
        with anyio.fail_after(PATIENCE / 3):
            await left.wait()
        blocked.released.set()
    assert ends == ["stopped"]
    assert called == [blocked]
    assert blocked.token.reason == _reason(how)


# rule 9
@pytest.mark.parametrize("how", ENDS)
async def test_what_ends_a_map_of_another_task_waits_no_longer_than_its_calls_need(
    held_call: type[HeldCall], how: str
) -> None:
    blocked, done = held_call(), list[str]()

    def call(_: int) -> None:
        safe_point()
        blocked.stuck()
        done.append("cleaned up")

    async def open_it() -> None:
        await anyio.wait_all_tasks_blocked()
        blocked.released.set()

    async def read() -> None:
        with pytest.raises(Stopped):
            async with runner.map(call, range(3)) as results:
                try:
                    await anext(results)
                finally:
                    group.start_soon(open_it)
        done.append("left")

    runner = Runner(grace=PATIENCE, max_threads=1)
    with anyio.fail_after(PATIENCE / 3):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                try:
                    async with runner:
                        group.start_soon(read)
                        await blocked.inside.wait()
                        await anyio.wait_all_tasks_blocked()
                        await _end(how, runner, scope)
                        await anyio.sleep_forever()
                except* LookupError:
                    assert how == "sibling"
            assert "cleaned up" in done
    assert sorted(done) == ["cleaned up", "left"]


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("when", ["before the map", "in the map", "with results"])
async def test_a_map_of_a_runner_that_was_stopped_runs_nothing_more(
    outside: bool, when: str
) -> None:
    called, ends = list[int](), list[str]()

    def call(number: int) -> int:
        called.append(number)
        return number

    async def read(runner: Runner) -> None:
        many = 0
        if when == "before the map":
            runner.stop("enough")
        try:
            async with runner.map(call, range(100), buffersize=2) as results:
                if when != "before the map":
                    assert await anext(results) == 0
                if when == "with results":
                    await until(lambda: results.done == 2)
                if when != "before the map":
                    runner.stop("enough")
                many = len(called) + (when != "before the map")
                await anext(results)
                pytest.fail("there are no more results")
        except Stopped as exc:
            ends.append(f"stopped: {exc.reason}")
        except anyio.get_cancelled_exc_class():
            ends.append("cancelled")
            raise
        finally:
            assert len(called) <= many <= 4

    runner = Runner()
    async with anyio.create_task_group() as group, runner:
        if outside:
            with anyio.CancelScope(shield=True):
                handle = group.create_task(read(runner))
                await handle.wait()
        else:
            await read(runner)
    assert ends == (["stopped: enough"] if outside else ["cancelled"])


async def test_a_stop_from_a_thread_at_any_moment_ends_an_endless_map(
    held_call: type[HeldCall],
) -> None:
    ends = list[str]()

    def call(number: int) -> None:
        if number == 777:
            runners[-1].stop("from an item")

    async def read(runner: Runner) -> None:
        try:
            async with runner.map(call, iter(range(10**9)), ordered=False) as results:
                async for _ in results:
                    pass
        except Stopped as exc:
            ends.append(str(exc.reason))

    runners = list[Runner]()
    for _ in range(20):
        runners.append(runner := Runner(max_threads=3))
        async with anyio.create_task_group() as group, runner:
            group.start_soon(read, runner)
            await anyio.sleep_forever()
    assert ends == ["from an item"] * 20


# rule 12
async def test_an_error_in_a_task_that_reads_comes_out_of_the_runner_as_anyio_gives_it() -> None:
    def fail(item: int) -> None:
        raise LookupError

    async def read(runner: Runner) -> None:
        async with runner.map(fail, range(9)) as results:
            async for _ in results:
                pass

    with pytest.RaisesGroup(LookupError):
        async with Runner() as runner:
            runner.start_soon(read, runner)


# rule 9
async def test_a_runner_waits_for_maps_of_tasks_outside(held_call: type[HeldCall]) -> None:
    blocked, got = held_call(), list[str]()

    async def read(runner: Runner) -> None:
        async with runner.map(lambda blocked: blocked.stuck(), [blocked] * 3) as results:
            got.extend([result async for result in results])

    async def open_it() -> None:
        await anyio.wait_all_tasks_blocked()
        assert got == []
        blocked.released.set()

    runner = Runner()
    async with anyio.create_task_group() as group:
        async with runner:
            group.start_soon(read, runner)
            await blocked.inside.wait()
            group.start_soon(open_it)
        assert got == ["late"] * 3


# rule 10
async def test_a_runner_reports_the_items_that_it_leaves_behind(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call(), held_call()]

    def page(held_thread_call: HeldCall) -> str:
        return held_thread_call.stuck()

    start = time.monotonic()
    async with Runner(grace=PATIENCE, name="ingest") as runner, runner.map(page, made):
        await made[0].at_rest(runner, 2)
        runner.stop()
        await anyio.sleep_forever()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    title = re.escape(f"<Runner 'ingest'>: left running: {page.__qualname__}, ")
    for line in lines:
        found = re.match(title + r"(\d+\.\d) s, at .*conftest\.py:", line)
        assert found, line
        assert float(found[1]) <= time.monotonic() - start + 0.05


async def test_a_cancelled_task_enters_no_map_and_the_runner_goes_on() -> None:
    async with Runner() as runner:
        for _ in range(20):  # Trio may run first what enters, or what it has started
            with anyio.CancelScope() as scope:
                scope.cancel()
                async with runner.map(str, [1]):
                    pytest.fail("it was entered")
            assert scope.cancelled_caught
        async with runner.map(str, [1]) as results:
            assert [result async for result in results] == ["1"]


# rule 9
async def test_a_shielded_reader_of_a_cancelled_runner_leaves_no_error(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()
    with anyio.CancelScope() as scope:
        async with (
            Runner(max_threads=1) as runner,
            runner.map(lambda blocked: blocked.stuck(), [blocked] * 5) as results,
        ):
            await blocked.inside.wait()
            scope.cancel()
            with anyio.CancelScope(shield=True), anyio.fail_after(PATIENCE):
                await anyio.wait_all_tasks_blocked()
                blocked.released.set()
                assert [result async for result in results] == ["late"] * 5
    assert scope.cancelled_caught


async def test_items_of_a_stopped_runner_are_flagged_before_any_task_unwinds(
    held_call: type[HeldCall],
) -> None:
    blocked, seen = held_call(), list[bool]()

    async def clean_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append(blocked.token._set)

    async with Runner() as runner:
        runner.start_soon(clean_up)
        async with runner.map(lambda blocked: blocked.stuck(), [blocked]):
            await blocked.inside.wait()
            await anyio.wait_all_tasks_blocked()
            runner.stop()
            await anyio.sleep_forever()
    assert seen == [True]
    blocked.released.set()
