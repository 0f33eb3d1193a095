"""Waits of a pool that a wake-up, or a signal, never reaches."""

from __future__ import annotations

import time

import pytest

from asyncrun._executors.pool import wakers
from asyncrun._executors.pool.wakers import Wakers


@pytest.mark.parametrize("patience", [None, 30.0])
def test_a_waiter_that_nobody_wakes_looks_again_by_itself(
    monkeypatch: pytest.MonkeyPatch, patience: float | None
) -> None:
    monkeypatch.setattr(wakers, "LOOK_INTERVAL", 0.001)
    looks, checks = iter([True, True, True, False]), list[None]()
    deadline = None if patience is None else time.monotonic() + patience
    Wakers().wait_while(lambda: next(looks), deadline, lambda: checks.append(None))
    assert len(checks) == 3


def test_a_waiter_waits_no_longer_than_to_its_deadline() -> None:
    Wakers().wait_while(lambda: True, time.monotonic() + 0.01)
