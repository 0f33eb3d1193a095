# pyright: basic
"""Signals that a program handles itself."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from asyncrun._executors.at_exit import stop_begun_before
from asyncrun._program import interrupts, own_handlers
from asyncrun.futures import ThreadPoolExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(own_handlers, "_moments", [])
    monkeypatch.setattr(signal, "signal", signal.signal)
    monkeypatch.setattr(signal, "getsignal", signal.getsignal)
    own_handlers.watch()
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_handler_of_the_program_is_called_and_found_as_ever(watched: None) -> None:
    got: list[int] = []

    def handler(signum: int, frame: object) -> None:
        got.append(signum)

    default = signal.getsignal(signal.SIGTERM)
    assert signal.signal(signal.SIGTERM, handler) is default
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not own_handlers._moments
    signal.raise_signal(signal.SIGTERM)
    assert got == [signal.SIGTERM]
    assert len(own_handlers._moments) == 1
    assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


@pytest.mark.parametrize(
    "handler", [interrupts._ignore, partial(interrupts._ignore), signal.default_int_handler]
)
def test_a_handler_of_ours_or_of_python_is_not_the_programs(
    watched: None, handler: signal._HANDLER
) -> None:
    signal.signal(signal.SIGTERM, handler)
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        assert handler is signal.default_int_handler
    assert not own_handlers._moments


def test_only_calls_that_ran_at_the_signal_are_stopped_at_the_end(watched: None) -> None:
    entered, released = threading.Barrier(2), threading.Event()

    def call() -> None:
        entered.wait()
        released.wait()

    with ThreadPoolExecutor(2) as executor:
        executor.submit(call)
        entered.wait()
        own_handlers._moments.append(time.monotonic())
        executor.submit(call)
        entered.wait()
        own_handlers.stop_what_began_before()
        assert [info.stopping for info in executor.calls()] == [True, False]
        stop_begun_before(0)
        released.set()
