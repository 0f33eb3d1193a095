"""Executors at the end of the interpreter: what is not reached by ending a real one."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Any

import pytest

from asyncrun._executors import at_exit
from asyncrun._executors.pool import threads as pool_module
from asyncrun._system import process_exit
from asyncrun.futures import ThreadPoolExecutor


def test_an_executor_that_is_made_while_the_interpreter_ends_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool_module, "interpreter_exiting", exiting := threading.Event())
    exiting.set()
    with pytest.raises(RuntimeError, match="after interpreter shutdown"):
        ThreadPoolExecutor().submit(int)


def test_without_a_way_to_come_before_other_exit_handlers_it_is_one_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered: list[Any] = []
    monkeypatch.delattr(threading, "_register_atexit")
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.delattr(os, "register_at_fork")
    at_exit.install_exit_hook()
    assert registered == [process_exit.replace_std_streams, at_exit._on_interpreter_exit]
