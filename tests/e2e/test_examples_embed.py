"""`examples/embed.py`: a Runner inside a web service, under a real server."""

from __future__ import annotations

import http.client
import re
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed.py"
UVICORN = "import uvicorn; uvicorn.main()"
PATIENCE = 30.0
STUCK = "/report/600"


def log_line(child: Child, pattern: str) -> re.Match[str]:
    """Read the server's log up to a line in which this is found."""
    assert child.process.stderr is not None
    read: list[str] = []
    for line in iter(child.process.stderr.readline, ""):
        if match := re.search(pattern, line):
            return match
        read.append(line)
    pytest.fail(f"no {pattern!r} in the log:\n{''.join(read)}")


def rest_of_log(child: Child) -> list[str]:
    assert child.process.stderr is not None
    # Not communicate(): it does not see what readline() has read ahead.
    lines = [line.removeprefix("INFO:").strip() for line in child.process.stderr]
    child.process.wait(PATIENCE)
    return lines


def connect(child: Child) -> http.client.HTTPConnection:
    port = int(log_line(child, r"running on http://127\.0\.0\.1:(\d+)")[1])
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    connection.request("GET", path)
    return answer(connection)


def answer(connection: http.client.HTTPConnection) -> tuple[int, str]:
    with connection.getresponse() as response:
        return response.status, response.read().decode()


@pytest.mark.parametrize(
    "command",
    [
        (EXAMPLE, "--port", "0"),
        (UVICORN, "--port", "0", "--app-dir", str(EXAMPLE.parent), "embed:app"),
    ],
    ids=["python", "uvicorn"],
)
def test_a_stuck_call_costs_its_request_and_does_not_hold_up_the_shutdown(
    start: Callable[..., Child], command: tuple[str | Path, ...]
) -> None:
    child = start(*command)
    with closing(connect(child)) as connection:
        assert get(connection, "/report/0") == (200, "It took 0 s.\n")
        assert get(connection, STUCK) == (504, "No report within 1 s.\n")
        assert get(connection, "/report/0") == (200, "It took 0 s.\n")
        child.send(signal.SIGTERM)
        log = rest_of_log(child)
    assert child.process.returncode == -signal.SIGTERM
    (left,) = (line for line in log if "left running" in line)
    assert re.fullmatch(
        r"<Runner 'reports'>: left running: make_report, \d+\.\d s, at .*embed\.py:\d+", left
    )
    assert log[-2] == "Application shutdown complete."
    assert "Traceback" not in "\n".join(log)


def test_a_request_that_is_being_handled_is_answered_before_the_shutdown(
    start: Callable[..., Child],
) -> None:
    child = start(EXAMPLE, "--port", "0")
    with closing(connect(child)) as connection:
        connection.request("GET", STUCK)
        log_line(child, "making a report of 600 s")
        child.send(signal.SIGTERM)
        assert answer(connection) == (504, "No report within 1 s.\n")
        log = rest_of_log(child)
    assert child.process.returncode == -signal.SIGTERM
    assert log[-2] == "Application shutdown complete."
    assert "Traceback" not in "\n".join(log)
