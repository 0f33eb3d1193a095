"""Work items of a ProcessPoolExecutor, where they are hard to get to in a whole one."""

from __future__ import annotations

import logging
import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from asyncrun import StopSource
from asyncrun._executors.maps.iterator import MapIterator
from asyncrun._executors.maps.work_item import ThreadMapItem
from asyncrun._executors.pool.threads import Pool
from asyncrun._executors.process.call import call_with_keywords, initialize
from asyncrun._executors.process.map_item import ProcessMapItem
from asyncrun._workers.process import handle
from asyncrun._workers.process.child.main import WorkerBootstrap
from asyncrun._workers.process.handle import WorkerProcess
from asyncrun._workers.process.pool import ProcessPool
from asyncrun._workers.process.stop_sequence import StopSequence

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 30.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(
        "a pool", prefix="thread", size=1, grace=1.0, initialize=None, make_broken_error=LookupError
    )
    yield pool
    pool.close()
    pool.wait()


def fail() -> NoReturn:
    raise LookupError("too bad")


def test_a_process_calls_with_keywords_by_way_of_a_function() -> None:
    assert call_with_keywords(int, ("11",), {"base": 2}) == 3


def test_a_process_logs_the_error_of_its_initializer(caplog: pytest.LogCaptureFixture) -> None:
    began: list[int] = []
    initialize(began.append, (1,))
    assert began == [1]
    with pytest.raises(LookupError, match="too bad"):
        initialize(fail, ())
    (record,) = caplog.records
    assert record.name == "concurrent.futures"
    assert record.levelno == logging.CRITICAL
    assert record.getMessage() == "Exception in initializer:"


def test_a_consumer_looks_once_more_when_it_has_left_and_is_always_likely_to_end(
    pool: Pool,
) -> None:
    mapped: MapIterator[int] = MapIterator(
        pool, abs, ((),), timeout=None, buffersize=None, owner=None, make_work_item=ThreadMapItem
    )
    batch = mapped._batch
    processes = ProcessPool(None, None, 1.0)
    consumer = ProcessMapItem(processes, batch, pool, copy_context(), single=False)
    assert consumer.is_ending()

    class Consumers(list[Any]):
        def remove(self, value: Any) -> None:
            super().remove(value)
            if not mapped._batch.output:
                batch.put(0, -7)

    batch.consumers = Consumers([consumer])
    item = consumer._next()
    assert item is not None
    assert item.arg == -7
    assert consumer._next() is None
    assert batch.consumers == []


def test_the_item_that_lacks_a_process_may_be_with_another_consumer_by_now(pool: Pool) -> None:
    mapped: MapIterator[int] = MapIterator(
        pool, abs, ((),), timeout=None, buffersize=None, owner=None, make_work_item=ThreadMapItem
    )
    processes = ProcessPool(None, None, 1.0)
    consumer = ProcessMapItem(processes, mapped._batch, pool, copy_context(), single=False)
    consumer._fail_one(LookupError())
    assert not mapped._batch.output


def test_a_pool_whose_executor_is_gone_can_break_down(pool: Pool) -> None:
    pool.break_down()
    assert pool.closed
    with pytest.raises(LookupError):
        pool.check_open()


def test_a_consumer_that_comes_late_is_taken_by_a_closed_pool(pool: Pool) -> None:
    inside, go, done = threading.Event(), threading.Event(), threading.Event()

    class Late(ThreadMapItem):  # type: ignore[misc]
        def run(self) -> None:
            pool.waiting.pop(self, None)
            done.set()

    class Early(ThreadMapItem):  # type: ignore[misc]
        def run(self) -> None:
            pool.waiting.pop(self, None)
            inside.set()
            assert go.wait(PATIENCE)
            pool.add_late(Late(batch, pool, copy_context(), single=True))

    mapped: MapIterator[int] = MapIterator(
        pool, abs, ((),), timeout=None, buffersize=None, owner=None, make_work_item=ThreadMapItem
    )
    batch = mapped._batch
    early = Early(batch, pool, copy_context(), single=True)
    pool.add(early, early)
    assert inside.wait(PATIENCE)
    pool.close()
    go.set()
    assert done.wait(PATIENCE)


def test_a_stop_sequence_that_has_begun_can_be_cut_short() -> None:
    source = StopSource()
    source.stop()
    sequence = StopSequence(1, source.token, 1000.0)
    sequence.start()
    sequence.send_request(lambda _: True)
    assert not sequence.must_kill(lambda: True)
    sequence.cut_short()
    assert sequence.must_kill(lambda: True)


def test_a_forked_child_knows_no_process_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    process = WorkerProcess(None, 1.0, WorkerBootstrap, {})
    monkeypatch.setattr(handle, "_known", {lambda: None, lambda: process})
    handle._after_fork()
    assert process.channels.fileno() == -1
    assert process.terminate() == 0
