"""The standard library's ThreadPoolExecutor and ours, alike in what `concurrent.futures` documents.

Where ours differs on purpose is the business of ``test_executor`` beside this folder.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

import pytest

from asyncrun import futures
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")

REFUSED = "cannot schedule new futures after shutdown"


class Counting(futures.ThreadPoolExecutor):
    """Our executor with a ``submit`` of its own, as progress bars make one."""

    submitted = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.submitted += 1
        return super().submit(fn, *args, **kwargs)


EXECUTORS: list[type[ThreadPoolExecutor]] = [
    ThreadPoolExecutor,
    futures.ThreadPoolExecutor,
    Counting,
]


@pytest.fixture(params=EXECUTORS, ids=["stdlib", "ours", "counting"])
def executor_class(request: pytest.FixtureRequest) -> type[ThreadPoolExecutor]:
    executor_class: type[ThreadPoolExecutor] = request.param
    return executor_class


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread} is left"


class Alone(BaseException):
    """An error that is no `Exception`."""


class Thing:
    """Something that can be referred to weakly."""


def collect(*args: object, **kwargs: object) -> tuple[object, ...]:
    return *args, kwargs


def fail(error: BaseException) -> NoReturn:
    raise error


def threads_of(executor: ThreadPoolExecutor, number: int) -> list[threading.Thread]:
    """Return so many threads of an executor that has none yet, or may have no more."""
    together = threading.Barrier(number)

    def call() -> threading.Thread:
        together.wait(PATIENCE)
        return threading.current_thread()

    called = [executor.submit(call) for _ in range(number)]
    return [future.result(PATIENCE) for future in called]
