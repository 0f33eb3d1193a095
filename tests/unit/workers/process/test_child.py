"""WorkerMain, run in this process: the calls that it takes, and its responses."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from asyncrun import safe_point, stop_token
from asyncrun._workers.process.child import main as main_module
from asyncrun._workers.process.child.main import can_spin
from asyncrun._workers.process.ipc.framing import Frame
from asyncrun._workers.process.ipc.protocol import NO_PERMIT, Code
from asyncrun._workers.remote.serialization import dumps, raise_error
from tests.unit.workers.process.parent_ends import PATIENCE, Worker, add, fail, serve, stopping

if TYPE_CHECKING:
    from collections.abc import Callable


def test_calls_are_answered_in_turn(worker: Worker) -> None:
    worker.call(1, add, 1, 2)
    worker.call(2, None, 3, 4)
    serve(worker)
    assert [worker.answer(), worker.answer()] == [(1, Code.RETURNED, 3), (2, Code.RETURNED, 7)]


def test_an_error_is_an_answer(worker: Worker) -> None:
    worker.call(1, fail)
    serve(worker)
    key, code, content = worker.answer()
    assert (key, code) == (1, Code.RAISED)
    with pytest.raises(LookupError, match="no"):
        raise_error(content, "fail()")


def test_a_function_that_cannot_be_loaded_fails_each_call(worker: Worker) -> None:
    for key in (1, 2):
        worker.send(Frame(key, NO_PERMIT, b"nonsense" if key == 1 else b"", dumps((), "args")))
    serve(worker)
    for key in (1, 2):
        answered, code, content = worker.answer()
        assert (answered, code) == (key, Code.RAISED)
        with pytest.raises(TypeError, match="the function cannot be unpickled"):
            raise_error(content, "it")


# rule 20
def test_only_who_has_a_leave_of_its_generation_begins(worker: Worker) -> None:
    worker.credit.send(b"\x01\x02")
    worker.call(1, add, 1, leave=1)
    worker.call(2, add, 2, leave=1)  # taken back: the next leave is for a later one
    worker.call(3, add, 3, leave=2)
    worker.call(4, add, 4, leave=2)  # taken back: there is none
    serve(worker)
    assert [worker.answer()[0], worker.answer()[0]] == [1, 3]
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def test_a_parent_without_leaves_lets_nothing_begin(worker: Worker) -> None:
    worker.credit.close()
    worker.call(1, add, 1, leave=1)
    serve(worker)
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def count_looks(monkeypatch: pytest.MonkeyPatch, at_first: Callable[[], object]) -> list[None]:
    """Advance a clock of its own by 0.0001 s at each look at it, on a machine with two cores."""
    clock, looks = count(), list[None]()
    monkeypatch.setattr(
        main_module,
        "time",
        SimpleNamespace(
            monotonic=lambda: next(clock) / 10_000, perf_counter_ns=time.perf_counter_ns
        ),
    )
    monkeypatch.setattr(main_module, "usable_cores", lambda: 2)

    def look() -> None:
        looks.append(None)
        if len(looks) == 1:
            at_first()

    monkeypatch.setattr(os, "sched_yield", look)
    return looks


def test_who_got_a_call_at_once_looks_for_the_next_one_before_it_sleeps(
    monkeypatch: pytest.MonkeyPatch, new_worker: Callable[[], Worker]
) -> None:
    def send() -> None:
        hurried.call(2, None, 2)
        hurried.calls.shutdown(socket.SHUT_WR)

    monkeypatch.setattr(main_module, "SPIN_TIME", PATIENCE)
    looks = count_looks(monkeypatch, send)
    hurried = new_worker()
    hurried.call(1, add, 1)
    hurried.serving.call_loop()
    assert [hurried.answer()[0], hurried.answer()[0]] == [1, 2]
    assert len(looks) == 1


def test_it_does_not_look_for_long(
    monkeypatch: pytest.MonkeyPatch, new_worker: Callable[[], Worker]
) -> None:
    timer = threading.Timer(0.05, lambda: hurried.calls.shutdown(socket.SHUT_WR))
    looks = count_looks(monkeypatch, timer.start)
    hurried = new_worker()
    hurried.call(1, add, 1)
    hurried.serving.call_loop()
    timer.join()
    assert len(looks) == 1


@pytest.mark.parametrize(("cores", "expected"), [(1, False), (2, True)])
def test_where_there_is_one_core_it_sleeps(
    monkeypatch: pytest.MonkeyPatch, cores: int, *, expected: bool
) -> None:
    monkeypatch.setattr(main_module, "usable_cores", lambda: cores)
    assert can_spin() == expected
    monkeypatch.delattr(os, "sched_yield")
    assert not can_spin()


def hook() -> None:
    with stop_token().on_stop(stopping):
        pass


# rule 18
@pytest.mark.parametrize(
    ("func", "told"), [(safe_point, 1), (stopping, 1), (hook, 1), (stop_token, 0), (add, 0)]
)
def test_the_first_look_is_told_at_once_and_for_that_call_alone(
    worker: Worker, func: Callable[..., object], told: int
) -> None:
    worker.byte[0] = 1  # of the call before
    worker.call(1, func)
    serve(worker)
    assert worker.byte[0] == told


def test_a_forked_child_that_returns_from_the_call_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(worker.serving, "_pid", 1)  # as if this were a child of it
    worker.call(1, add, 1)
    with pytest.raises(SystemExit) as caught:
        serve(worker)
    assert caught.value.code == 0
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def test_output_is_flushed_after_each_call_if_there_is_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    worker.call(1, add, 1)
    serve(worker)
    assert worker.answer() == (1, Code.RETURNED, 1)
