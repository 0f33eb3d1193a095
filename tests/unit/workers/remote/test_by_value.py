"""Functions that are pickled by their names, and values that cloudpickle pickles."""

from __future__ import annotations

import math
import sys
import threading
from functools import partial, wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from asyncrun import SerializationError
from asyncrun._core.checks import check_seconds
from asyncrun._workers.remote import by_value
from asyncrun._workers.remote.by_value import is_main_importable, pickles_by_name
from asyncrun._workers.remote.serialization import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = [1, 2]


class Holder:
    @staticmethod
    def static() -> None:
        pass

    def method(self) -> None:
        pass


def wrapping(func: Callable[[], None]) -> Callable[[], None]:
    @wraps(func)
    def wrapper() -> None:
        func()

    return wrapper


@wrapping
def wrapped() -> None:
    pass


def make_hidden() -> Callable[[], None]:
    """Make a function that has the name of another one."""

    def hidden() -> None:
        pass

    hidden.__qualname__ = "wrapped"
    return hidden


def make_local() -> Callable[[], None]:
    def local() -> None:
        pass

    return local


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (check_seconds, True),
        (len, True),
        (math.sqrt, True),
        (Holder.static, True),
        (Holder.method, True),
        (wrapped, True),
        (NUMBERS.append, False),
        (Holder, False),
        (Holder().method, False),
        (partial(len), False),
        (threading.Lock().__exit__, False),
        (lambda: 1, False),
        (make_local(), False),
        (make_hidden(), False),
        (wrapped.__wrapped__, False),  # type: ignore[attr-defined]
    ],
)
def test_what_is_pickled_by_its_name(func: object, expected: bool) -> None:
    assert pickles_by_name(func) == expected


def main_module(file: str | None, spec: str | None) -> ModuleType:
    """Make a main module."""
    main = ModuleType("__main__")
    if file is not None:
        main.__file__ = file
    main.__spec__ = None if spec is None else ModuleSpec(spec, None)
    return main


@pytest.mark.parametrize(
    ("file", "spec", "expected"),
    [
        ("/a/script.py", None, True),
        ("/a/b/module.py", "b.module", True),
        (None, None, False),
        ("<stdin>", None, False),
        ("/a/b/__main__.py", "b.__main__", False),
        ("/a/folder/__main__.py", "__main__", False),
    ],
)
def test_a_main_module_that_workers_can_import(
    monkeypatch: pytest.MonkeyPatch, file: str | None, spec: str | None, expected: bool
) -> None:
    monkeypatch.setattr(by_value, "_MAIN_FILE", "")
    monkeypatch.setitem(sys.modules, "__main__", main_module(file, spec))
    assert is_main_importable() == expected
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert not is_main_importable()


def test_a_script_that_has_come_to_its_end_can_be_imported_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(by_value, "_MAIN_FILE", "/a/script.py")
    monkeypatch.setitem(sys.modules, "__main__", main_module(None, None))
    assert is_main_importable()


@pytest.mark.parametrize("is_prompt", [False, True])
def test_a_function_of_the_main_module_goes_by_value_from_a_prompt(
    monkeypatch: pytest.MonkeyPatch, is_prompt: bool
) -> None:
    main = main_module("/a/script.py", None)
    exec("def double(number): return number * 2", vars(main))
    monkeypatch.setitem(sys.modules, "__main__", main)
    if is_prompt:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert pickles_by_name(main.double) is not is_prompt
    content = dumps([main.double, 4], "it")
    found, _ = loads(content, "it")
    assert (found is main.double) is not is_prompt
    assert found(4) == 8
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    assert loads(dumps([main.double, 4], "it"), "it") == [main.double, 4]


def test_without_cloudpickle_an_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loads(dumps(lambda: 5, "it"), "it")() == 5
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(SerializationError, match=r"asyncrun\[cloudpickle]"):
        dumps(lambda: 5, "it")
