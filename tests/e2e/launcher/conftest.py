"""Programs under the launcher, and the same under plain Python."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from .pseudo_terminal import PseudoTerminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def open_terminal(nothing_is_left: None, tmp_path: Path) -> Iterator[Callable[..., PseudoTerminal]]:
    """Run a program in a terminal: ``open_terminal(code, *options_of_the_launcher)``."""
    opened: list[PseudoTerminal] = []

    def open_terminal(code: str, *options: str) -> PseudoTerminal:
        (tmp_path / "program.py").write_text(code)
        command = [sys.executable, "-m", "asyncrun", *options, "program.py"]
        opened.append(PseudoTerminal(command, str(tmp_path)))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
