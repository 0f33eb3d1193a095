"""Worker processes that are none: `WorkerMain`, run in this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from asyncrun._core.current import token_by_thread
from tests.unit.workers.process.parent_ends import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def new_worker() -> Iterator[Callable[[], Worker]]:
    before = token_by_thread.get(threading.get_ident())
    workers: list[Worker] = []

    def make() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield make
    for worker in workers:
        for end in worker.ends:
            end.close()
    token_by_thread.pop(threading.get_ident(), None)
    assert before is None


@pytest.fixture
def worker(new_worker: Callable[[], Worker]) -> Worker:
    return new_worker()
