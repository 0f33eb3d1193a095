"""The time limit of a call: `executor.options(timeout=...)`."""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import CallTimeoutError, StopToken, stop_token
from asyncrun.futures import ProcessPoolExecutor, ThreadPoolExecutor
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contract.jobs import HeldProcessCall

BOTH = pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])


@BOTH
def test_a_call_within_its_limit_has_its_outcome(kind: Callable[[int], Any]) -> None:
    with kind(1) as executor:
        limited = executor.options(timeout=PATIENCE)
        assert limited.submit(int, "11", base=2).result(PATIENCE) == 3
        with pytest.raises(LookupError, match="too bad"):
            limited.submit(jobs.fail, "too bad").result(PATIENCE)
        assert executor.options().submit(jobs.square, 3).result(PATIENCE) == 9


def test_a_call_in_a_thread_is_abandoned_at_its_limit(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor(1) as executor:
        future = executor.options(timeout=0.01).submit(one.stuck)
        assert one.inside.wait(PATIENCE)
        with pytest.raises(CallTimeoutError, match=r"stuck took longer than 0.01 s$"):
            future.result(PATIENCE)
        (info,) = executor.calls()
        assert info.stopping
        assert one.token.reason == "it took longer than 0.01 s"
        waiting = executor.submit(int)
        one.released.set()
        assert waiting.result(PATIENCE) == 0  # only now is its slot free
    assert not executor.calls()


def test_what_an_abandoned_call_raises_is_logged(
    held_thread_call: type[HeldThreadCall], caplog: pytest.LogCaptureFixture
) -> None:
    one = held_thread_call()

    def fail_late() -> None:
        one.stuck()
        raise LookupError("too late")

    with ThreadPoolExecutor(1) as executor:
        future = executor.options(timeout=0.01).submit(fail_late)
        with pytest.raises(CallTimeoutError):
            future.result(PATIENCE)
        one.released.set()
        wait_until(lambda: caplog.records)
    (record,) = caplog.records
    assert "fail_late failed after its caller had stopped waiting" in record.getMessage()


@pytest.mark.parametrize(
    "job", [jobs.cooperative, jobs.stuck, jobs.stubborn], ids=lambda job: str(job.__name__)
)
def test_a_call_in_a_process_has_ended_when_its_limit_is_told(
    held_process_call: Callable[[], HeldProcessCall], job: Callable[[str], object]
) -> None:
    one = held_process_call()
    with ProcessPoolExecutor(1, grace=PATIENCE) as executor:
        executor.submit(jobs.square, 3).result(PATIENCE)
        future = executor.options(timeout=0.2).submit(job, one.path)
        with pytest.raises(CallTimeoutError, match=rf"^{job.__name__} took longer than 0.2 s$"):
            future.result(PATIENCE)
        assert executor.calls() == []
        pid = int(one.read("inside"))
        assert jobs.is_alive(pid) == one.has("left") == (job is jobs.cooperative)


def test_a_call_that_ends_in_another_way_after_its_limit_has_run_into_it(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    with ProcessPoolExecutor(2, grace=PATIENCE) as executor:
        for job in (jobs.linger, jobs.fail_late):
            one = held_process_call()
            future = executor.options(timeout=0.05).submit(job, one.path)
            wait_until(partial(one.has, "noticed"))
            one.release()
            with pytest.raises(CallTimeoutError) as caught:
                future.result(PATIENCE)
            cause = caught.value.__cause__
            assert isinstance(cause, LookupError) == (job is jobs.fail_late)


def test_the_clock_starts_when_the_call_begins() -> None:
    with ProcessPoolExecutor(1) as executor:  # its process takes longer to start
        assert executor.options(timeout=0.05).submit(jobs.square, 3).result(PATIENCE) == 9


@BOTH
@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_limit_out_of_its_range_is_refused_at_the_call(
    kind: Callable[[int], Any], timeout: float
) -> None:
    with (
        kind(1) as executor,
        pytest.raises(ValueError, match=r"timeout must be > 0 seconds or None"),
    ):
        executor.options(timeout=timeout)


def test_a_limited_call_is_refused_after_a_shutdown() -> None:
    executor = ThreadPoolExecutor(1)
    limited = executor.options(timeout=1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown"):
        limited.submit(int)


def test_without_a_thread_for_the_clock_the_call_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from asyncrun._executors.pool import deadlines

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ThreadPoolExecutor(1) as executor, monkeypatch.context() as patch:
        patch.setattr(deadlines, "_clocks", set[threading.Thread]())
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.options(timeout=1).submit(int)


def test_a_forked_child_has_a_clock_of_its_own() -> None:
    with ThreadPoolExecutor(1) as executor:
        executor.options(timeout=PATIENCE).submit(int).result(PATIENCE)
        if (pid := os.fork()) == 0:
            status = 1
            try:
                future = executor.options(timeout=0.01).submit(time.sleep, PATIENCE)
                status = 0 if isinstance(future.exception(PATIENCE), CallTimeoutError) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_limit_stops_the_call_also_where_callbacks_block() -> None:
    tokens: list[StopToken] = []
    inside, go = threading.Event(), threading.Event()

    def block(_: object) -> None:
        inside.set()
        assert go.wait(PATIENCE)

    def wait() -> None:
        tokens.append(stop_token())
        stop_token().wait()

    with ThreadPoolExecutor(2) as executor:
        limited = executor.options(timeout=0.01)
        limited.submit(wait).add_done_callback(block)
        assert inside.wait(PATIENCE)
        with pytest.raises(CallTimeoutError):
            limited.submit(wait).result(PATIENCE)  # the clock goes on
        go.set()
    assert [token.is_set() for token in tokens] == [True, True]
