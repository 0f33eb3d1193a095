# pyright: basic
"""Tasks of joblib. Worker processes import it: it needs little."""

from __future__ import annotations

import os
import time
from typing import Any

import joblib

from tests.contract import jobs


def pid_of(_: int) -> int:
    time.sleep(0.001)
    return os.getpid()


def threads_of(name: str) -> str | None:
    return os.environ.get(name)


def kind_of(array: Any) -> tuple[str, bool, float]:
    return type(array).__name__, array.flags.writeable, float(array[-1])


def same(array: Any) -> Any:
    return array


def nested(depth: int) -> list[str]:
    backend, _ = joblib.parallel.get_active_backend()
    names = [type(backend).__name__]
    if depth:
        calls = (joblib.delayed(nested)(depth - 1) for _ in range(2))
        several: Any = joblib.Parallel(n_jobs=2)(calls)
        names += several[0]
    return names


def one_of(task: tuple[str, str]) -> Any:
    """Run one of the held calls, or fail when another one is inside."""
    name, path = task
    if name == "fail":
        jobs.HeldProcessCall(path).wait_for("inside")
        raise LookupError("too bad")
    return getattr(jobs, name)(path)


def recalled(_: int) -> list[tuple[object, ...]]:
    return jobs.recall()
