"""A stuck program in a terminal: keys, job control, a window that is closed (`expected.SCENES`)."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, POLL
from tests.e2e.surroundings.expected import SCENES, Scene
from tests.e2e.surroundings.pane import Pane
from tests.e2e.surroundings.stage import last_words
from tests.e2e.worker_programs import all_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.e2e.surroundings.stage import Stage

STOPPED = 128 + signal.SIGTSTP


@pytest.fixture
def pane(stage: Stage) -> Generator[Pane]:
    pane = Pane(stage)
    yield pane
    pane.close()


def is_stopped(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"


def wait_until(pane: Pane, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, pane.screen()
        time.sleep(POLL)


def play(step: str, pane: Pane, modes: str, programs: list[int]) -> None:
    """Do what a person does, and wait until it has its first effect."""
    match step:
        case "Ctrl-C":
            pane.key("C-c")
        case "Ctrl-Z":
            pane.key("C-z")
            pane.ended(STOPPED)
            # The shell sees its own child stop; others of the group may do so a moment later.
            wait_until(pane, lambda: all(map(is_stopped, programs)))
            assert pane.modes() == modes
        case "fg":
            pane.type("fg")
            wait_until(pane, lambda: not any(map(is_stopped, programs)))
        case "SIGTERM":
            for program in programs:
                os.kill(program, signal.SIGTERM)
        case _:
            pane.kill_window()
            assert all_gone([pane.shell])


def check_shown(scene: Scene, text: str) -> None:
    """Check what the programs have printed, on the screen or in the file."""
    words = last_words(scene.ends_by)
    if scene.steps == ("Ctrl-Z", "its window is closed"):
        # The shell ends a stopped job by SIGTERM and the kernel by SIGHUP: either may come first.
        words = words.replace("SIGHUP", "SIG(HUP|TERM)")
    assert len(re.findall(words, text)) == len(scene.names), text
    assert len(re.findall("unwound$", text, re.MULTILINE)) == len(scene.names), text


# rules 13 to 16, and 25
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: f"{scene.line}: {scene.steps}")
def test_a_stuck_program_ends_well_in_a_terminal(stage: Stage, pane: Pane, scene: Scene) -> None:
    modes = pane.modes()
    pane.type(stage.line(scene.line))
    pids = [stage.stuck(name) for name in scene.names]
    if "getpass" in scene.line:
        pane.shows("Password: ")
    if scene.line.endswith("&"):
        pane.ended(0)
    for step in scene.steps:
        stage.silence()
        play(step, pane, modes, [program for program, *_ in pids])
    for name in scene.names:
        stage.unwound(name)
    if scene.status is not None:
        pane.ended(scene.status)
        assert pane.modes() == modes
        assert not re.search("^after$", pane.screen(), re.MULTILINE)
        if "stty" in scene.line:
            assert stage.out.read_text() == modes
        if scene.shows:
            check_shown(scene, pane.screen())
    elif scene.shows:
        assert all_gone([program for program, *_ in pids])
        check_shown(scene, stage.out.read_text())
    stage.gone([pid for three in pids for pid in three])
