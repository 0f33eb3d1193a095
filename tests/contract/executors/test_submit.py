"""Where somebody has replaced `submit`, a ThreadPoolExecutor maps by it (rule 23)."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped
from asyncrun.futures import ThreadPoolExecutor
from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future


class Tracer:
    """A replacement of `submit` that counts, and is an object of its own, as those of wrapt are."""

    def __init__(self, submit: Callable[..., Future[Any]]) -> None:
        self._submit = submit
        self.futures: list[Future[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._submit, name)

    def __get__(self, instance: object, owner: type) -> Any:
        bound = Tracer(self._submit.__get__(instance, owner))
        bound.futures = self.futures
        return bound

    def __call__(self, *args: Any) -> Future[Any]:
        future = self._submit(*args)
        self.futures.append(future)
        return future


class Traced(ThreadPoolExecutor):
    """Has a `submit` of its own."""


@pytest.fixture(params=["subclass", "instance", "class"])
def traced(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[ThreadPoolExecutor, Tracer]]:
    """Make an executor in one of the ways in which `submit` is replaced."""
    tracer = Tracer(ThreadPoolExecutor.submit)
    match request.param:
        case "subclass":
            monkeypatch.setattr(Traced, "submit", tracer, raising=False)
            executor: ThreadPoolExecutor = Traced(2)
        case "class":
            monkeypatch.setattr(ThreadPoolExecutor, "submit", tracer)
            executor = ThreadPoolExecutor(2)
        case _:
            executor = ThreadPoolExecutor(2)
            tracer = Tracer(executor.submit)
            monkeypatch.setattr(executor, "submit", tracer)
    with executor:
        yield executor, tracer


# rule 23
def test_a_map_submits_each_item_at_the_call(traced: tuple[ThreadPoolExecutor, Tracer]) -> None:
    executor, tracer = traced
    results = executor.map(pow, [2, 3, 4], [3, 2, 1])
    assert len(tracer.futures) == 3
    assert list(results) == [8, 9, 4]
    assert [future.result() for future in tracer.futures] == [8, 9, 4]


def test_a_map_with_a_buffersize_submits_as_it_is_read(
    traced: tuple[ThreadPoolExecutor, Tracer],
) -> None:
    executor, tracer = traced
    results = executor.map(str, range(9), buffersize=2)
    counts = [len(tracer.futures)]
    for _ in range(9):
        next(results)
        counts.append(len(tracer.futures))
    assert counts == [2, 3, 4, 5, 6, 7, 8, 9, 9, 9]


def test_the_end_of_a_map_cancels_its_futures(
    traced: tuple[ThreadPoolExecutor, Tracer], held_thread_call: type[HeldThreadCall]
) -> None:
    executor, tracer = traced
    made = [held_thread_call() for _ in range(3)]
    results: Any = executor.map(HeldThreadCall.do, [int, *[one.cooperative for one in made]])
    assert next(results) is None
    made[0].enter()
    made[1].enter()
    results.close()
    assert isinstance(tracer.futures[1].exception(PATIENCE), Stopped)
    assert isinstance(tracer.futures[2].exception(PATIENCE), Stopped)
    assert tracer.futures[3].cancelled()


def test_a_time_out_tells_what_took_too_long(
    traced: tuple[ThreadPoolExecutor, Tracer], held_thread_call: type[HeldThreadCall]
) -> None:
    executor, _ = traced
    one = held_thread_call()
    message = r"^map of HeldThreadCall.cooperative took longer than 0.01 s$"
    for args in ([one], [one]), ([one],):
        results = executor.map(HeldThreadCall.cooperative, *args, timeout=0.01)
        with pytest.raises(TimeoutError, match=message) as caught:
            next(results)
        assert caught.value.__suppress_context__
        wait_until(lambda: not executor.calls())


def test_a_call_may_raise_a_time_out_itself(traced: tuple[ThreadPoolExecutor, Tracer]) -> None:
    executor, _ = traced
    error = TimeoutError("my own")

    def fail(_: int) -> None:
        raise error

    with pytest.raises(TimeoutError) as caught:
        list(executor.map(fail, range(3), timeout=PATIENCE))
    assert caught.value is error


def test_an_error_does_not_keep_its_future(traced: tuple[ThreadPoolExecutor, Tracer]) -> None:
    executor, tracer = traced
    gc.collect()
    gc.disable()
    try:
        for timeout in None, PATIENCE:
            with pytest.raises(ValueError, match="invalid literal"):
                list(executor.map(int, "x", timeout=timeout))
            link = weakref.ref(tracer.futures.pop())
            wait_until(lambda link=link: link() is None)  # type: ignore[misc]
    finally:
        gc.enable()


def test_a_submit_that_was_put_back_is_used_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(2) as executor:
        tracer = Tracer(ThreadPoolExecutor.submit)
        with monkeypatch.context() as patch:
            patch.setattr(ThreadPoolExecutor, "submit", tracer)
            assert list(executor.map(str, range(3))) == ["0", "1", "2"]
        assert list(executor.map(str, range(3))) == ["0", "1", "2"]
    assert len(tracer.futures) == 3


def test_a_progress_bar_that_counts_in_submit_counts_every_item() -> None:
    """As `tqdm.contrib.concurrent.thread_map` does."""
    done = list[int]()
    lock = threading.Lock()

    def update(_: object) -> None:
        with lock:
            done.append(threading.get_ident())

    def thread_map(func: Callable[[int], str], *iterables: Any, **options: Any) -> list[str]:
        with ThreadPoolExecutor(max_workers=2, initializer=str, initargs=(1,)) as executor:
            submit: Callable[..., Future[Any]] = executor.submit

            def counted(*args: Any, **kwargs: Any) -> Future[Any]:
                future = submit(*args, **kwargs)
                future.add_done_callback(update)
                return future

            executor.submit = counted  # type: ignore[method-assign]
            return list(executor.map(func, *iterables, **options))

    assert thread_map(str, range(20), timeout=PATIENCE, chunksize=1) == [str(n) for n in range(20)]
    assert len(done) == 20
