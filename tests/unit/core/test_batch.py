"""A batch and its queue of waiters, where a race would be needed to see it from outside."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner
from asyncrun._core.batch import DISCARDED, SUCCEEDED, Batch
from asyncrun._workers.slots import SlotQueue
from asyncrun._workers.thread.item_loop import ThreadItemLoop


def make_batch(posted: list[Any]) -> Batch[str]:
    batch = Batch(
        str,
        owner=None,
        ordered=True,
        captured_errors=(),
        call_soon_threadsafe=posted.append,
        silent_late_errors=(),
    )
    batch.request_consumer = lambda: None
    return batch


def test_a_reader_that_waits_is_woken_by_its_item_alone() -> None:
    posted: list[Any] = []
    batch = make_batch(posted)
    batch.put(0, "an item")
    batch.put(1, "another")
    first, second = batch.output
    waker = threading.Event()
    with batch.reader_waiting(waker.set, first):
        batch.set_outcome(second, SUCCEEDED, "a result")
        assert posted == []
        batch.set_outcome(first, SUCCEEDED, "a result")
        assert posted == [waker.set]
    with batch.reader_waiting(waker.set):
        pass
    assert not batch._wakers


def test_a_reader_is_woken_when_its_item_is_put_back_as_the_batch_has_closed() -> None:
    posted: list[Any] = []
    batch = make_batch(posted)
    batch.put(0, "an item")
    batch.closed = False
    item = batch.pop_nowait()  # a consumer has it in hand, and has not begun it
    assert item is not None
    waker = threading.Event()
    with batch.reader_waiting(waker.set, item):
        batch.close(None)
        batch.requeue([item])
        assert item.state is DISCARDED
        assert posted == [waker.set]


@pytest.mark.anyio
async def test_a_reader_whose_outcome_has_just_come_does_not_wait() -> None:
    async with Runner() as runner, runner.map(str, [1]) as results:
        with anyio.fail_after(5):
            while not results._is_ready():
                await anyio.lowlevel.checkpoint()
            await results._wait()
        assert not results._batch._wakers


def test_a_batch_asks_for_a_server_only_if_one_is_lacking_and_for_nothing_once_left() -> None:
    posted: list[Any] = []
    batch = make_batch(posted)
    batch.put(0, "an item")
    batch.request_consumer_if_needed()
    assert posted == []
    batch.closed = False
    batch.request_consumer_if_needed()
    batch.detach_reader()
    batch.request_consumer_if_needed()
    assert [ask() for ask in posted] == [None, None]
    assert posted[0] is not posted[1]


def test_two_loops_promise_a_slot_once_to_the_one_that_waits() -> None:
    class Waiting(list[Any]):
        """Another loop comes between the look and the promise."""

        def popleft(self) -> Any:
            self.clear()
            raise IndexError

    queue = SlotQueue()
    loop, other = (ThreadItemLoop(make_batch([]), queue) for _ in range(2))
    queue.add_waiter(other)
    assert queue.should_yield(loop, idle=False)
    assert not queue.waiting
    queue.remove_waiter(other)
    queue.waiting = Waiting([other])  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]
    assert not queue.should_yield(loop, idle=False)
