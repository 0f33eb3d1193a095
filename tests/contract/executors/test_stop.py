"""How a ThreadPoolExecutor is stopped: by its user, by an error, by asyncio."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped, safe_point, stop_token
from asyncrun._executors.maps.work_item import MapWorkItem
from asyncrun._executors.pool.threads import Pool
from asyncrun.futures import ThreadPoolExecutor
from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.mark.parametrize("reason", [None, "enough"])
def test_stop_cancels_what_waits_and_flags_what_runs(
    held_thread_call: type[HeldThreadCall], reason: str | None
) -> None:
    made = [held_thread_call(), held_thread_call()]
    with ThreadPoolExecutor(2) as executor:
        running = [executor.submit(each.cooperative) for each in made]
        for each in made:
            each.enter()
        waiting = executor.submit(int)
        rest = executor.map(int, range(10))
        executor.stop(reason)
        executor.stop("again")
        assert waiting.cancelled()
        for future in running:
            with pytest.raises(Stopped) as caught:
                future.result(PATIENCE)
            assert caught.value.reason == reason
        with pytest.raises(futures.CancelledError):
            next(rest)
        what = "was stopped: enough" if reason else "was shut down"
        with pytest.raises(RuntimeError, match=f"after shutdown: {executor!r} {what}$"):
            executor.submit(int)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.map(int, [1])


def test_stop_flags_the_items_of_a_map_and_drops_the_others(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one, called = held_thread_call(), list[int]()

    def call(number: int) -> int:
        called.append(number)
        if number == 1:
            one.cooperative()
        return number

    with ThreadPoolExecutor(1) as executor:
        results = executor.map(call, range(5))
        assert next(results) == 0
        one.enter()
        executor.stop("enough")
        with pytest.raises(Stopped, match="enough"):
            next(results)
    assert called == [0, 1]


def test_a_stop_wakes_a_reader_that_waits_for_an_item_which_never_begins(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor(1) as executor, futures.ThreadPoolExecutor(1) as other:
        executor.submit(one.stuck)
        one.enter()
        results = executor.map(int, [1])
        reader = other.submit(lambda: next(results))
        turn = next(iter(executor._pool.waiting))
        assert isinstance(turn, MapWorkItem)
        wait_until(lambda: turn.batch._wakers)
        executor.stop()
        with pytest.raises(futures.CancelledError):
            reader.result(PATIENCE)
        one.released.set()


class OddError(Exception):
    """An error of a test."""


@pytest.mark.parametrize("error", [OddError, KeyboardInterrupt, SystemExit])
def test_leaving_by_an_exception_stops_everything_and_does_not_wait_for_what_met_no_safe_point(
    held_thread_call: type[HeldThreadCall],
    error: type[BaseException],
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, heeding = held_thread_call(), held_thread_call()
    made: list[futures.Future[Any]] = []
    with (
        caplog.at_level(logging.INFO, "asyncrun"),
        pytest.raises(error),
        ThreadPoolExecutor(2, thread_name_prefix="pool", grace=PATIENCE) as executor,
    ):
        made += executor.submit(stuck.stuck), executor.submit(heeding.cooperative)
        made.append(executor.submit(int))
        stuck.enter()
        heeding.enter()
        raise error
    assert heeding.left.is_set()
    assert not stuck.left.is_set()
    assert [future.cancelled() for future in made] == [False, False, True]
    (record,) = caplog.records
    # As quiet about it as Python is, when a KeyboardInterrupt ends the program.
    assert record.levelno == (logging.INFO if error is KeyboardInterrupt else logging.WARNING)
    assert record.getMessage().startswith("<ThreadPoolExecutor 'pool'>: left running: ")
    assert "HeldThreadCall.stuck, 0." in record.getMessage()
    stuck.released.set()
    assert made[0].result(PATIENCE) == "late"


@pytest.mark.parametrize("grace", [0, 0.01])
def test_the_grace_is_bounded(held_thread_call: type[HeldThreadCall], grace: float) -> None:
    one = held_thread_call()

    def call() -> None:
        safe_point()
        one.stuck()

    with pytest.raises(OddError), ThreadPoolExecutor(grace=grace) as executor:
        executor.submit(call)
        one.enter()
        raise OddError
    assert not one.left.is_set()
    assert one.token.reason == "its executor was left by OddError"


def test_an_interrupt_while_it_is_left_normally_stops_everything(
    held_thread_call: type[HeldThreadCall], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = held_thread_call()
    wait = Pool.wait

    def interrupted(_: Pool) -> None:
        one.enter()
        monkeypatch.setattr(Pool, "wait", wait)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ThreadPoolExecutor() as executor:
        executor.submit(one.cooperative)
        monkeypatch.setattr(Pool, "wait", interrupted)
    assert one.left.is_set()


def test_leaving_normally_waits_for_everything(held_thread_call: type[HeldThreadCall]) -> None:
    one, order = held_thread_call(), list[str]()

    def let_go() -> None:
        one.enter()
        order.append("opened")
        one.released.set()

    with ThreadPoolExecutor(1) as executor:
        executor.submit(one.stuck).add_done_callback(lambda _: order.append("called back"))
        last = executor.submit(order.append, "last")
        opener = threading.Thread(target=let_go)
        opener.start()
    assert order == ["opened", "called back", "last"]
    assert last.done()
    opener.join()


def test_what_waits_behind_a_call_that_was_asked_to_stop_is_done_before_it_is_left(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(one.cooperative)
        second = executor.submit(int)
        results = executor.map(str, range(3))
        one.enter()
        first.cancel()
    assert second.done()
    assert list(results) == ["0", "1", "2"]


def test_a_map_behind_a_stuck_call_does_not_hold_up_an_end_by_an_exception(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with pytest.raises(OddError), ThreadPoolExecutor(1) as executor:
        executor.submit(one.stuck)
        executor.map(str, range(3))
        one.enter()
        raise OddError
    assert not one.left.is_set()


@pytest.mark.parametrize("buffersize", [None, 2])
def test_a_map_that_was_closed_behind_a_stuck_call_does_not_hold_up_the_end(
    held_thread_call: type[HeldThreadCall], buffersize: int | None
) -> None:
    one, item = held_thread_call(), held_thread_call()
    with ThreadPoolExecutor(2) as executor:
        results: Any = executor.map(
            HeldThreadCall.stuck, [item] * 9, timeout=0.01, buffersize=buffersize
        )
        item.enter()
        stuck = executor.submit(one.stuck)
        with pytest.raises(TimeoutError):
            next(results)
        stuck.cancel()
    assert not item.left.is_set()


def test_a_callback_is_not_inside_of_the_call_and_may_pass_a_safe_point(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one, called = held_thread_call(), list[bool]()

    def look(_: object) -> None:
        safe_point()
        called.append(stop_token().is_set())

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(one.stuck)
        future.add_done_callback(look)
        future.add_done_callback(look)
        one.enter()
        future.cancel()
        one.released.set()
        assert future.result(PATIENCE) == "late"
    assert called == [False, False]


def test_those_who_wait_for_a_future_are_told_at_once_that_it_was_cancelled(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(one.stuck)
        waiting = [executor.submit(int) for _ in range(3)]
        one.enter()
        waiting[0].cancel()
        assert futures.wait(waiting[:1], PATIENCE).done
        executor.stop()
        assert set(futures.as_completed(waiting, PATIENCE)) == set(waiting)
        one.released.set()


def test_it_is_not_waited_for_in_a_call_of_its_own() -> None:
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(executor.shutdown)
        with pytest.raises(RuntimeError, match=r"its own cannot wait for that, use .*wait=False"):
            future.result(PATIENCE)


def test_stuck_initializers_do_not_hold_up_an_end_by_an_exception(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one, made = held_thread_call(), list[futures.Future[int]]()
    with pytest.raises(OddError), ThreadPoolExecutor(1, initializer=one.stuck) as executor:
        made.append(executor.submit(int))
        one.enter()
        raise OddError
    assert made[0].cancelled()
    assert one.token.is_set()


def _await(executor: ThreadPoolExecutor, func: Callable[[], None], how: str) -> Awaitable[None]:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    if how == "to_thread":
        return asyncio.to_thread(func)
    return loop.run_in_executor(executor if how == "run_in_executor" else None, func)


async def _cancel(executor: ThreadPoolExecutor, held_thread_call: HeldThreadCall, how: str) -> None:
    task = asyncio.ensure_future(_await(executor, held_thread_call.cooperative, how))
    await _await(executor, held_thread_call.enter, how)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("how", ["to_thread", "run_in_executor", "default"])
def test_cancelling_what_awaits_a_call_in_asyncio_asks_it_to_stop(
    held_thread_call: type[HeldThreadCall], how: str
) -> None:
    one = held_thread_call()
    asyncio.run(_cancel(ThreadPoolExecutor(), one, how))
    assert one.left.is_set()  # the loop has waited for it


def test_the_loop_does_not_wait_for_a_cancelled_call_that_is_stuck(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(one.stuck)

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert one.token.is_set()
    assert not one.left.is_set()
