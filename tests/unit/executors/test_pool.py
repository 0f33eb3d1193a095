"""The pool behind a ThreadPoolExecutor: what happens just between two of its steps."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent import futures
from concurrent.futures.thread import BrokenThreadPool
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import stop_token
from asyncrun._core.batch import FAILED, SUCCEEDED, Batch, Item
from asyncrun._core.current import token_by_thread
from asyncrun._core.stop import StopFlag
from asyncrun._executors import at_exit
from asyncrun._executors.call import Future, FutureCall
from asyncrun._executors.maps.iterator import MapIterator
from asyncrun._executors.maps.work_item import ThreadMapItem
from asyncrun.futures import ThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from asyncrun._executors.pool.threads import Pool

PATIENCE = 30.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    executor = ThreadPoolExecutor(1)
    yield executor._pool
    token_by_thread.pop(threading.get_ident(), None)  # what a test has run itself
    executor.stop()
    executor.shutdown()


class Queue(SimpleQueue[Any]):
    """Does something just after a job has been added."""

    def __init__(self, added: Callable[[], object]) -> None:
        self._added = added

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self._added()


@pytest.mark.parametrize("how", ["submit", "map"])
def test_what_is_added_while_the_pool_is_closed_is_refused(how: str) -> None:
    executor = ThreadPoolExecutor(1)
    pool = executor._pool

    def close() -> None:
        pool.queue = SimpleQueue()
        executor.shutdown(wait=False)

    pool.queue = Queue(close)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int) if how == "submit" else executor.map(int, "1")
    assert not pool.waiting
    executor.shutdown()


def test_an_item_that_is_added_while_the_pool_is_stopped_never_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inside, go = threading.Event(), threading.Event()
    put = Batch[None].put

    def call(_: int) -> None:
        inside.set()
        assert go.wait(PATIENCE)

    def put_and_stop(batch: Batch[None], index: int, arg: object) -> None:
        if index == 1:
            assert inside.wait(PATIENCE)
            executor.stop()
        put(batch, index, arg)

    monkeypatch.setattr(Batch, "put", put_and_stop)
    executor = ThreadPoolExecutor(1)
    results = executor.map(call, range(2))
    go.set()
    assert next(results) is None
    with pytest.raises(futures.CancelledError):
        next(results)
    executor.shutdown()


def test_cancel_futures_does_not_flag_a_call_that_begins_in_this_moment(pool: Pool) -> None:
    call = FutureCall(pool, int, (), {})
    call.token = StopFlag()
    assert call.future.set_running_or_notify_cancel()
    call.cancel_pending()
    assert not call.token.is_set()
    assert not call.future.cancelled()


def test_a_call_that_a_thread_has_taken_just_before_a_stop_does_not_begin(pool: Pool) -> None:
    call = FutureCall(pool, stop_token, (), {})
    pool.waiting[call.future] = call
    pool.stopped, pool.reason = True, "enough"
    pool._run_item(call, threading.current_thread())
    assert call.future.cancelled()


@pytest.mark.parametrize("first", ["the future", "the thread"])
def test_of_a_cancelled_future_those_who_wait_are_told_once_by_whoever_takes_it_from_the_list(
    pool: Pool, first: str
) -> None:
    call = FutureCall(pool, pytest.fail, (), {})
    pool.waiting[call.future] = call
    if first == "the future":
        call.future.cancel()
    else:
        super(Future, call.future).cancel()
        pool.waiting, listed = {}, pool.waiting
        call.future._tell()  # it comes too late
        pool.waiting = listed
    call.run()
    call.run()
    assert call.future.cancelled()
    assert not pool.waiting
    assert futures.wait([call.future], PATIENCE).done


def test_a_call_that_gets_its_token_after_a_stop_has_looked_is_flagged(
    monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    call = FutureCall(pool, stop_token, (), {})
    pool.waiting[call.future] = call
    tell = call.future.set_running_or_notify_cancel

    def stopped_meanwhile() -> bool:
        running = tell()
        pool.stopped, pool.reason = True, "enough"
        return running

    monkeypatch.setattr(call.future, "set_running_or_notify_cancel", stopped_meanwhile)
    call.stop("it has no token yet")
    call.run()
    token = call.future.result(0)
    assert token is call.token
    assert token.reason == "enough"


def test_what_begins_after_a_stop_has_looked_gives_way_at_once_and_is_no_reason_to_wait() -> None:
    inside, go = threading.Event(), threading.Event()
    begun: list[object] = []

    class AtWork(dict[Any, Any]):
        """A worker is held just before it is listed."""

        def __setitem__(self, thread: Any, job: Any) -> None:
            inside.set()
            assert go.wait(PATIENCE)
            super().__setitem__(thread, job)

    executor = ThreadPoolExecutor(1)
    executor._pool._active = AtWork()
    executor.submit(begun.append, 1)
    assert inside.wait(PATIENCE)
    executor.stop()
    go.set()
    executor.shutdown()
    assert begun == []


def test_a_reader_does_not_wait_for_an_item_that_has_just_got_its_outcome(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: MapIterator[str] = MapIterator(
        pool, str, (), timeout=9, buffersize=None, owner=None, make_work_item=ThreadMapItem
    )
    item = Item(mapped._batch, 0, "an item")

    @contextmanager
    def settle(_: object, awaited: Item[str]) -> Generator[None]:
        awaited.state = SUCCEEDED
        yield

    monkeypatch.setattr(mapped._batch, "reader_waiting", settle)
    monkeypatch.setattr(threading.Event, "wait", pytest.fail)
    mapped._wait(item)


def test_a_turn_looks_once_more_for_items_when_it_is_not_counted_any_longer(pool: Pool) -> None:
    done: list[int] = []
    mapped: MapIterator[None] = MapIterator(
        pool,
        done.append,
        ((),),
        timeout=None,
        buffersize=None,
        owner=None,
        make_work_item=ThreadMapItem,
    )
    batch = mapped._batch

    class Servers(list[Any]):
        def remove(self, turn: Any) -> None:
            super().remove(turn)
            if not done:
                batch.put(0, 7)

    turn = ThreadMapItem(batch, pool, mapped._context, single=False)
    batch.consumers = Servers([turn])
    turn.run()
    assert done == [7]
    assert batch.consumers == []


def test_a_broken_pool_fails_what_waits_in_futures_and_maps() -> None:
    begun, go = threading.Event(), threading.Event()

    def initialize() -> None:
        begun.set()
        assert go.wait(PATIENCE)
        raise LookupError

    executor = ThreadPoolExecutor(1, initializer=initialize)
    future = executor.submit(int)
    cancelled = executor.submit(int)
    results = executor.map(int, "12")
    assert begun.wait(PATIENCE)
    assert cancelled.cancel()
    executor.shutdown(wait=False)
    go.set()
    with pytest.raises(BrokenThreadPool):
        future.result(PATIENCE)
    with pytest.raises(BrokenThreadPool):
        next(results)
    assert futures.wait([cancelled], PATIENCE).done
    with pytest.raises(BrokenThreadPool):
        executor.submit(int)
    executor.shutdown()


def test_a_thread_that_a_worker_cannot_start_is_not_needed(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.size = 2

    def refuse(_: Pool) -> None:
        raise RuntimeError("can't start new thread")

    together = threading.Event()
    first = FutureCall(pool, together.wait, (PATIENCE,), {})
    pool.add(first.future, first)
    monkeypatch.setattr(type(pool), "_start_thread_if_needed", refuse)
    calls = [FutureCall(pool, int, (), {}) for _ in range(3)]
    for call in calls:
        pool.add(call.future, call)
    together.set()
    assert [call.future.result(PATIENCE) for call in calls] == [0] * 3


def test_an_interrupt_while_a_thread_starts_leaves_room_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        monkeypatch.setattr(threading.Thread, "start", start)
        raise KeyboardInterrupt

    def started(thread: threading.Thread) -> None:
        interrupt_after()
        start(thread)
        raise KeyboardInterrupt

    def interrupt_after() -> None:
        monkeypatch.setattr(threading.Thread, "start", start)

    for how in (interrupted, started):
        with ThreadPoolExecutor(1) as executor:
            monkeypatch.setattr(threading.Thread, "start", how)
            with pytest.raises(KeyboardInterrupt):
                executor.submit(int)
            assert executor.submit(int).result(PATIENCE) == 0
            assert {thread.name[-2:] for thread in executor._threads} == {"_0"}


def test_a_thread_that_is_one_too_many_ends_and_takes_nothing(pool: Pool) -> None:
    pool._numbers = itertools.count(1)
    job = FutureCall(pool, int, (), {})
    pool.waiting[job.future] = job
    pool.queue.put(job)
    pool._start_thread_if_needed()
    while not pool._ended:
        os.sched_yield()
    pool._ended[0].join(PATIENCE)
    assert not pool.threads
    assert not pool._starting
    assert pool.queue.get_nowait() is pool.waiting.pop(job.future)


def test_no_more_threads_are_started_than_there_may_be(pool: Pool) -> None:
    go = threading.Event()
    jobs = [FutureCall(pool, go.wait, (PATIENCE,), {}) for _ in range(3)]
    for job in jobs:
        pool.add(job.future, job)
        pool._start_thread_if_needed()
    assert len(pool.threads.union(pool.starting())) == 1
    go.set()
    assert all(job.future.result(PATIENCE) for job in jobs)


def test_a_thread_that_was_never_started_is_not_waited_for(pool: Pool) -> None:
    pool._starting[threading.Thread()] = None
    assert pool.starting() == []
    pool.close()
    pool.wait()


def test_a_turn_that_fails_passes_over_what_only_wakes(pool: Pool) -> None:
    mapped: MapIterator[str] = MapIterator(
        pool, str, ((),), timeout=None, buffersize=None, owner=None, make_work_item=ThreadMapItem
    )
    mapped._batch.put(0, 1)
    mapped._batch.pending.put(None)
    mapped._batch.put(1, 2)
    ThreadMapItem(mapped._batch, pool, mapped._context, single=False).fail(LookupError())
    assert [item.state for item in mapped._batch.output] == [FAILED, FAILED]


def test_a_forked_child_knows_only_what_runs_in_its_own_thread(
    monkeypatch: pytest.MonkeyPatch, pool: Pool
) -> None:
    call = FutureCall(pool, int, (), {})
    here = threading.get_ident()
    monkeypatch.setattr(at_exit, "token_by_thread", known := {here: call, here + 1: call})
    monkeypatch.setattr(at_exit, "pools", lambda: [pool])
    pool.waiting[call] = call
    call.token = StopFlag()
    at_exit._after_fork()
    assert known == {here: call}
    assert not pool.waiting
    assert not call.is_cooperative()


def test_the_end_looks_again_after_the_grace_for_work_that_has_got_room(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [False, True, False, False]  # asked before and after the grace, twice

    def is_busy(_: Pool, *, pending: bool) -> bool:
        assert pending
        return looks.pop(0)

    monkeypatch.setattr(type(pool), "_is_busy", is_busy)
    pool.close()
    pool.wait()
    assert looks == []


def test_waking_wakes_each_waiter_once(pool: Pool) -> None:
    waker = threading.Lock()
    waker.acquire()
    pool._wakers._wakers[waker] = None
    pool.wake()
    pool.wake()
    assert waker.acquire(timeout=0)


def test_a_future_that_is_done_is_not_running_and_cannot_be_cancelled(pool: Pool) -> None:
    call = FutureCall(pool, int, (), {})
    assert isinstance(call.future, Future)
    pool.waiting[call.future] = call
    call.run()
    assert call.running_calls() == []
    assert call.future.cancel() is False
    assert call.future.result(0) == 0
