"""The report of what is left running."""

from __future__ import annotations

import gc
import sys
from functools import partial
from typing import Any

import pytest

from asyncrun import _calls
from asyncrun._calls import function_name, report
from asyncrun._work import Call

Left = tuple[Call[object], float, str | None]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Left]:
    calls: list[Left] = []

    def located(_: object) -> list[Left]:
        return sorted(calls, key=lambda each: -each[1])

    monkeypatch.setattr(_calls, "_located", located)
    return calls


def info(name: str, function: str, age: float = 1.0, where: str | None = "a.py:1") -> Left:
    call: Call[object] = Call(print, (), name=name)
    call.function = function
    return call, age, where


NO_CALLS: list[Call[object]] = []


# rule 10
def test_a_few_have_a_line_each(left: list[Left]) -> None:
    left += [info("page 7", "fetch", 3.25), info("fetch", "fetch", where=None)]
    assert report(NO_CALLS) == [
        "left running: page 7 (fetch), 3.2 s, at a.py:1",
        "left running: fetch, 1.0 s, at no Python line",
    ]


# rule 10
def test_many_have_a_line_a_kind_with_the_age_of_the_oldest(left: list[Left]) -> None:
    left += [
        info("a", "fetch", 9.0),
        *[info("b", "fetch", 2.0)] * 9,
        info("c", "parse", where=None),
    ]
    assert report(NO_CALLS) == [
        "left running: 10 x fetch, up to 9.0 s, at a.py:1",
        "left running: 1 x parse, up to 1.0 s, at no Python line",
    ]


# rule 10
def test_many_kinds_are_cut_short(left: list[Left]) -> None:
    left += [info("a", f"function_{number}") for number in range(13)]
    *lines, last = report(NO_CALLS)
    assert len(lines) == 10
    assert last == "left running: 3 more"


def test_nothing_left_is_nothing_to_say(left: list[Left]) -> None:
    assert report(NO_CALLS) == []


def test_a_function_is_known_by_its_own_name_below_partials_and_an_object_by_its_class() -> None:
    class Fetcher:
        def __call__(self) -> None: ...

    assert function_name(partial(partial(print, 1), 2)) == "print"
    assert function_name(Fetcher()).endswith("Fetcher")


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_collected_while_the_interpreter_lists_its_threads(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    during: list[bool] = []

    def current_frames() -> dict[int, Any]:
        during.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    if not enabled:
        gc.disable()
    try:
        assert _calls.snapshot([]) == []
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert during == [False]
