"""The README: its code blocks run, and print what they say."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIRST, *OTHERS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_is_code_within_the_first_35_lines() -> None:
    assert "asyncrun.run(main)\n```" in "\n".join(README.splitlines()[:35])


def test_the_first_program_ends_on_ctrl_c_as_it_says(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    path = tmp_path / "wait.py"
    path.write_text(FIRST)
    child = start(path, cwd=tmp_path)
    child.expect("Jack is waiting…", "Jill is waiting…")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "")
    shown = re.search(r"\^C(asyncrun: .*?)```", README, re.DOTALL)
    assert shown is not None
    assert re.sub(r"[\d.]+ s, at \S*/", "1.3 s, at ", errors) == shown[1]


@pytest.mark.parametrize("block", OTHERS)
def test_the_other_programs_print_what_they_say(
    start: Callable[..., Child], tmp_path: Path, block: str
) -> None:
    path = tmp_path / "program.py"
    path.write_text(block)
    wanted = re.findall(r"# prints: (.*)", block)
    status, output, errors = start(path, cwd=ROOT).finish()
    assert (status, errors) == (0, "")
    assert output.splitlines() == wanted
