"""The report of what is left running."""

from __future__ import annotations

import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest

from asyncrun._core import registry
from asyncrun._core import report as report_module
from asyncrun._core.call import Call
from asyncrun._core.registry import all_running
from asyncrun._core.report import function_name, report
from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

Left = tuple[Call[object], float, str | None]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[Left]:
    calls: list[Left] = []

    def located(_: object) -> list[Left]:
        return sorted(calls, key=lambda each: -each[1])

    monkeypatch.setattr(registry, "with_line", located)
    monkeypatch.setattr(report_module, "with_line", located)
    return calls


def info(name: str, function: str, age: float = 1.0, where: str | None = "a.py:1") -> Left:
    def func() -> None:
        """Stand in for a function of that name."""

    func.__qualname__ = function
    return Call(func, (), name=name), age, where


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


def test_a_garbage_collection_does_not_meet_the_interpreters_list_of_threads(
    start: Callable[..., Child],
) -> None:
    assert start(PROGRAMS / "collect_while_listing.py").finish() == (0, "", "")


def test_what_knows_calls_of_its_own_may_be_gone_before_it_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Batch:
        def running_calls(self) -> list[registry.RunningCall]:
            return list(calls)

    calls = [info("a", "fetch")[0]]
    known, gone = Batch(), Batch()
    links = [weakref.ref(known), weakref.ref(gone)]
    del gone
    monkeypatch.setattr(registry, "_sources", links)
    assert all_running() == calls
    assert [link() for link in links] == [known, None]


def test_a_forked_child_forgets_what_runs_in_threads_that_it_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = (info(name, name)[0] for name in ("here", "there"))
    here.thread, there.thread = threading.get_ident(), 0
    running: dict[registry.RunningCall, None] = {here: None, there: None}
    monkeypatch.setattr(registry, "running_calls", running)
    monkeypatch.setattr(registry, "_sources", several := {"a map"})
    registry._after_fork()
    assert list(running) == [here]
    assert several == set()


def test_it_is_known_whether_any_thread_may_be_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    class Batch:
        busy = False

        def is_busy(self) -> bool:
            return self.busy

    one = Batch()
    running: dict[registry.RunningCall, None] = {}
    monkeypatch.setattr(registry, "running_calls", running)
    monkeypatch.setattr(registry, "_sources", {weakref.ref(one)})
    assert not registry.is_busy()
    one.busy = True
    assert registry.is_busy()
    one.busy = False
    running[info("a", "b")[0]] = None
    assert registry.is_busy()
