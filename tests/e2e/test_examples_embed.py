"""`examples/embed.py`: a Runner inside a web service, under a real server."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import threading
import time
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
JOB = "/job/600"
STARTED = (202, "It is on its way.\n")


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


def get(connection: http.client.HTTPConnection, path: str, method: str = "GET") -> tuple[int, str]:
    connection.request(method, path)
    return answer(connection)


def get_when_it_listens(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask a consumer that the reloader has started: it does not say when it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
            try:
                return get(connection, path, method)
            except ConnectionRefusedError:
                assert time.monotonic() < deadline, "it does not listen"


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


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_a_stuck_job_in_the_background_does_not_hold_up_the_shutdown_for_long(
    start: Callable[..., Child], signum: signal.Signals, status: int
) -> None:
    child = start(UVICORN, "--port", "0", "--app-dir", str(EXAMPLE.parent), "embed:app")
    with closing(connect(child)) as connection:
        assert get(connection, JOB, "POST") == STARTED
        log_line(child, "making a report of 600 s")
        child.send(signum)
        log = rest_of_log(child)
    assert child.process.returncode == status  # uvicorn's own
    (left,) = (line for line in log if "left running" in line)
    assert re.search(r"<Runner 'reports'>: left running: job, \d+\.\d s, at .*embed\.py:\d+", left)
    assert log[-2] == "Application shutdown complete."
    assert "Traceback" not in "\n".join(log)


def test_a_job_that_fails_is_logged_and_the_next_request_is_answered(
    start: Callable[..., Child],
) -> None:
    fail = "import embed; embed.make_report = lambda _: 1 / 0; app = embed.app; "
    command = f"import sys; sys.path.insert(0, {str(EXAMPLE.parent)!r}); {fail}"
    child = start(f"{command}embed.uvicorn.run(app, port=0)")
    with closing(connect(child)) as connection:
        assert get(connection, JOB, "POST") == STARTED
        log_line(child, "the report of 600 s failed")
        log_line(child, "ZeroDivisionError")
        assert get(connection, JOB, "POST") == STARTED
        log_line(child, "ZeroDivisionError")
        child.send(signal.SIGTERM)
        assert "Application shutdown complete." in rest_of_log(child)


def test_the_reloader_comes_back_though_a_job_is_stuck(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    app = Path(shutil.copy(EXAMPLE, tmp_path))
    place = ("--app-dir", str(tmp_path), "--reload", "--reload-dir", str(tmp_path))
    child = start(UVICORN, "--port", "0", *place, "embed:app", cwd=tmp_path)
    port = connect(child).port
    log_line(child, r"Application startup complete")
    assert get_when_it_listens(port, JOB, "POST") == STARTED
    log_line(child, "making a report of 600 s")
    seen = threading.Event()

    def touch() -> None:
        """Change the file until the reloader, which may not know its time yet, has seen it."""
        changed = app.stat().st_mtime
        while not seen.wait(0.1):
            changed += 1
            os.utime(app, (changed, changed))

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        log_line(child, r"detected changes in 'embed\.py'")
    finally:
        seen.set()
        toucher.join()
    log_line(child, r"left running: job")
    log_line(child, r"Application startup complete")
    assert get_when_it_listens(port, "/report/0") == (200, "It took 0 s.\n")
    child.send(signal.SIGINT)
    assert any("Stopping reloader process" in line for line in rest_of_log(child))
