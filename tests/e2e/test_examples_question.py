"""``examples/question.py``: the program of the question, started both ways."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.launcher.pseudo_terminal import CTRL_C, PseudoTerminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def run_question(nothing_is_left: None) -> Iterator[Callable[..., PseudoTerminal]]:
    opened: list[PseudoTerminal] = []

    def run_question(*launcher: str) -> PseudoTerminal:
        command = [sys.executable, *launcher, "examples/question.py"]
        opened.append(PseudoTerminal(command, str(ROOT)))
        opened[-1].expect("Jack is waiting...")
        opened[-1].expect("Jill is waiting...")
        return opened[-1]

    yield run_question
    for each in opened:
        each.close()


def test_by_the_launcher_one_press_ends_it(
    run_question: Callable[..., PseudoTerminal],
) -> None:
    terminal = run_question("-m", "asyncrun")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    assert status == -signal.SIGINT
    lines = text.splitlines()[2:]
    assert lines[0] == "asyncrun: interrupted by SIGINT"
    assert [line.split(",")[0] for line in lines[1:]] == ["asyncrun: left running: wait_a_bit"] * 2
    assert all("examples/question.py:22" in line for line in lines[1:])


def test_by_python_alone_it_takes_three_presses_and_prints_tracebacks(
    run_question: Callable[..., PseudoTerminal],
) -> None:
    terminal = run_question()
    for _ in range(3):
        terminal.press(CTRL_C)  # each once it has come to rest: it is there
    status, text = terminal.finish()
    assert status in (-signal.SIGINT, 1, 130)
    assert text.count("Traceback (most recent call last):") >= 2
