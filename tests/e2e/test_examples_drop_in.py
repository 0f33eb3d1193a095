"""`examples/drop_in.py`: the old program on both pools, with one import line changed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncrun

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "drop_in.py"
NEW, OLD = "from asyncrun.futures import ", "from concurrent.futures import "


# rules 11 and 14
def test_ctrl_c_ends_it_at_once_with_nothing_but_a_traceback(start: Callable[..., Child]) -> None:
    child = start(EXAMPLE, encoding="utf-8")
    child.expect("Jack is waiting…", "Jill is waiting…")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "")
    first, *frames, last = errors.splitlines()
    assert (first, last) == ("Traceback (most recent call last):", "KeyboardInterrupt")
    assert all(frame.startswith("  ") for frame in frames)


WAITING = f"""
import runpy, sys
from asyncrun import futures
def as_completed(calls, wait=futures.as_completed):
    print("all are submitted", flush=True)
    return wait(calls)
futures.as_completed = as_completed
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
"""


# rule 14
def test_once_the_calls_are_submitted_the_traceback_has_no_line_of_asyncrun(
    start: Callable[..., Child],
) -> None:
    child = start(WAITING, encoding="utf-8")
    child.expect("Jack is waiting…", "Jill is waiting…", "all are submitted")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "")
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert str(Path(asyncrun.__file__).parent) not in errors


def test_it_is_the_old_program_but_for_one_import() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    (line,) = [line for line in lines if "asyncrun" in line]
    assert line.startswith(NEW)


@pytest.mark.parametrize("new", [True, False])
def test_without_a_signal_it_does_what_the_old_one_does(
    start: Callable[..., Child], tmp_path: Path, new: bool
) -> None:
    text = EXAMPLE.read_text("utf-8").replace("time.sleep(100)", "time.sleep(0.01)")
    if not new:
        text = text.replace(NEW, OLD)
    path = tmp_path / "program.py"
    path.write_text(text, "utf-8")
    status, output, errors = start(path, encoding="utf-8").finish()
    assert (status, errors) == (0, "")
    assert sorted(output.splitlines()) == [
        "Jack is back",
        "Jack is waiting…",
        "Jill is back",
        "Jill is waiting…",
    ]
