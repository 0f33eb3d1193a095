"""CPython's own tests of both pools, with our executors in their place.

They come with the interpreter, but not with every one: Debian has them in a package of its own, and
Python 3.11 has them in another form. What of them does not hold is listed, with the reason, in
``programs/cpython_tests.py``.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

NAMES = [
    "test.test_concurrent_futures.test_as_completed",
    "test.test_concurrent_futures.test_deadlock",
    "test.test_concurrent_futures.test_init",
    "test.test_concurrent_futures.test_process_pool",
    "test.test_concurrent_futures.test_shutdown",
    "test.test_concurrent_futures.test_thread_pool",
    "test.test_concurrent_futures.test_wait.ThreadPoolWaitTests",
    "test.test_concurrent_futures.test_wait.ProcessPoolSpawnWaitTest",
    "test.test_asyncio.test_threads",
]


def module_of(name: str) -> str:
    return name if name.rpartition(".")[2].startswith("test_") else name.rpartition(".")[0]


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# rule 23
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            each, marks=pytest.mark.skipif(not is_there(module_of(each)), reason="not installed")
        )
        for each in NAMES
    ],
)
def test_what_cpython_tests_of_its_executors_holds_for_ours(
    start: Callable[..., Child], name: str
) -> None:
    child = start(PROGRAMS / "cpython_tests.py", "asyncio", module_of(name), name)
    status, output, errors = child.finish()
    assert status == 0, f"{output}\n{errors}"
