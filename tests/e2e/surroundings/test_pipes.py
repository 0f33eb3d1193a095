"""A stuck program under tools that run programs, without a terminal (`expected.CASES`)."""

from __future__ import annotations

import os
import re
import shlex
import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Child
from tests.e2e.surroundings.expected import CASES, Case
from tests.e2e.surroundings.stage import last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.e2e.surroundings.stage import Stage


@pytest.fixture
def begin(stage: Stage) -> Generator[Callable[[str], Child]]:
    """Start a tool: ``begin(command)``."""
    tools: list[Child] = []

    def begin(command: str) -> Child:
        leads = not command.startswith("setsid")  # which would fork if it led a group
        tools.append(Child(*shlex.split(stage.line(command)), start_new_session=leads))
        return tools[-1]

    yield begin
    for tool in tools:
        tool.close()


def send(case: Case, tool: Child, programs: list[int]) -> None:
    match case.to:
        case "tool":
            tool.send(case.signum)
        case "group":
            os.killpg(tool.process.pid, case.signum)
        case _:
            for program in programs:
                os.kill(program, case.signum)


def printed(case: Case) -> list[str]:
    """Return the lines on standard output, sorted."""
    says = ["stuck"] if case.ends_by == signal.SIGKILL else ["stuck", "unwound"]
    lines = says * len(case.names) if case.shows else []
    return sorted([*lines, case.prints] if case.prints else lines)


def check_errors(case: Case, errors: str) -> None:
    if not case.quiet:
        assert f"asyncrun: interrupted by {case.ends_by.name}" in errors
        return
    says = case.shows and case.ends_by != signal.SIGKILL
    assert len(re.findall(last_words(case.ends_by), errors)) == says * len(case.names), errors
    assert re.fullmatch(case.complains, re.sub(last_words(case.ends_by), "", errors)), errors


# rules 13 to 19
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command}: {case.event}")
def test_a_stuck_program_ends_well_under_a_tool(
    stage: Stage, begin: Callable[[str], Child], case: Case
) -> None:
    tool = begin(case.command)
    pids = [stage.stuck(name) for name in case.names]
    send(case, tool, [program for program, *_ in pids])
    status, output, errors = tool.finish()
    assert status == case.status, errors
    assert sorted(output.splitlines()) == printed(case)
    check_errors(case, errors)
    if case.ends_by != signal.SIGKILL:
        for name in case.names:
            stage.unwound(name)
    stage.gone([pid for three in pids for pid in three])
