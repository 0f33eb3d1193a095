"""`examples/download.py`: against a real server that is good, slow, failing or silent."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, POLL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "download.py"
HALF = b"half of it" * 20_000


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # so that closing it waits for its threads

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = threading.Semaphore(0)
        self.go = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] - no other has it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path.lstrip("/").partition("?")[0].replace("-", "_")
        getattr(self, f"get_{path}", self.echo)()

    def begin(self, *headers: str, status: int = 200) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header.split(": "))
        self.end_headers()

    def echo(self) -> None:
        self.begin(f"Content-Length: {len(self.path)}")
        self.wfile.write(self.path.encode())

    def get_missing(self) -> None:
        self.send_error(404)

    def get_broken(self) -> None:
        self.send_error(500)

    def get_moved(self) -> None:
        self.begin("Location: /elsewhere", "Content-Length: 0", status=302)

    def get_moved_to_ftp(self) -> None:
        self.begin("Location: ftp://127.0.0.1/file", "Content-Length: 0", status=301)

    def get_moved_to_file(self) -> None:
        self.begin("Location: file:///etc/passwd", "Content-Length: 0", status=307)

    def get_circle(self) -> None:
        self.begin("Location: /circle", "Content-Length: 0", status=303)

    def get_short(self) -> None:
        self.begin("Content-Length: 100")
        self.wfile.write(b"x" * 58)

    def get_reset(self) -> None:
        self.begin("Content-Length: 100")
        self.wfile.write(b"x" * 58)
        linger = struct.pack("ii", 1, 0)  # to close is to reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())

    def get_chunked(self) -> None:
        self.begin("Transfer-Encoding: chunked")
        self.wfile.write(b"5\r\nsome \r\n6\r\nchunks\r\n0\r\n\r\n")

    def get_cut_chunk(self) -> None:
        self.begin("Transfer-Encoding: chunked")
        self.wfile.write(b"5\r\nsom")

    def get_slow(self) -> None:
        self.begin(f"Content-Length: {2 * len(HALF)}")
        self.halves(HALF, HALF)

    def get_slow_until_closed(self) -> None:
        self.begin()
        self.halves(HALF, HALF)

    def get_slow_chunked(self) -> None:
        self.begin("Transfer-Encoding: chunked")
        chunk = b"%x\r\n%s\r\n" % (len(HALF), HALF)
        self.halves(chunk, chunk + b"0\r\n\r\n")

    def halves(self, first: bytes, second: bytes) -> None:
        self.wfile.write(first)
        self.server.asked.release()
        if self.server.go.wait(PATIENCE):
            with contextlib.suppress(ConnectionError):
                self.wfile.write(second)

    def get_silent(self) -> None:
        self.server.asked.release()
        assert self.rfile.read(1) == b"", "the connection stays open"

    def get_dripping(self) -> None:
        """Send a header that does not end: no time-out of the socket ends that."""
        self.server.asked.release()
        deadline = time.monotonic() + PATIENCE
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nDrip: ")
            while not self.server.go.wait(0.05):
                assert time.monotonic() < deadline
                self.wfile.write(b".")
        except ConnectionError:
            self.server.asked.release()


@pytest.fixture
def server(nothing_is_left: None) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


@pytest.fixture
def download(server: Server, target: Path, start: Callable[..., Child]) -> Callable[..., Child]:
    """Start the example: ``download(*paths_or_urls_or_options)``."""

    def download(*arguments: str) -> Child:
        arguments = tuple(server.url + a if a.startswith("/") else a for a in arguments)
        environment = os.environ | {"no_proxy": "*"}
        return start(EXAMPLE, "--directory", str(target), *arguments, env=environment)

    return download


def wait_for_half(target: Path) -> None:
    """Wait until a part of the half that was sent is in a partial file; a buffer has the rest."""
    deadline = time.monotonic() + PATIENCE
    while not any(part.stat().st_size > 0 for part in target.glob(".*/*")):
        assert time.monotonic() < deadline
        time.sleep(POLL)


def test_it_fetches_each_url_into_a_file_and_prints_a_line_for_each(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    wanted = {
        "/file": b"/file",
        "/moved": b"/elsewhere",
        "/chunked": b"some chunks",
        "/slow": 2 * HALF,
        "/slow-until-closed": 2 * HALF,
        "/slow-chunked": 2 * HALF,
    }
    server.go.set()
    status, output, errors = download(*wanted).finish()
    assert (status, errors) == (0, "")
    assert sorted(output.splitlines()) == sorted(
        f"{target}{path}: {len(content)} bytes from {server.url}{path}"
        for path, content in wanted.items()
    )
    assert {f"/{file.name}": file.read_bytes() for file in target.iterdir()} == wanted


def test_lines_come_as_urls_are_done(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    child = download("/slow", "/file")
    child.expect(f"{target}/file: 5 bytes from {server.url}/file")
    wait_for_half(target)
    assert not (target / "slow").exists()
    server.go.set()
    line = f"{target}/slow: {2 * len(HALF)} bytes from {server.url}/slow\n"
    assert child.finish() == (0, line, "")


def test_it_names_files_after_the_last_part_of_the_path_and_never_outside_the_directory(
    target: Path, download: Callable[..., Child]
) -> None:
    names = {
        "/a": "a",
        "/b/a?query=/../c": "a.1",
        "/a.1": "a.1.1",
        "/": "index.html",
        "/b/": "index.html.1",
        "/?": "index.html.2",
        "/..": "index.html.3",
        "/%2e%2e": "index.html.4",
        "/%2e": "index.html.5",
        "/..%2f..%2fescaped": ".._.._escaped",
        "/%5c%2Fetc%2fpasswd": "__etc_passwd",
        "/nul%00line%0afeed": "nul_line_feed",
        "/with%20space%3F": "with space?",
        "/%C3%A9": "é",
        "/%FF": "\ufffd",
        "/fragment#/x": "fragment",
    }
    again = "/a"  # is not fetched twice
    status, output, errors = download(*names, again).finish()
    assert (status, errors) == (0, "")
    assert output.count("\n") == len(names)
    got = {file.name: file.read_text("utf-8") for file in target.iterdir()}
    assert got == {name: path.partition("#")[0] for path, name in names.items()}
    assert list(target.parent.iterdir()) == [target]


def test_a_url_without_a_path_becomes_index_html(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    status, _, errors = download(server.url).finish()
    assert (status, errors) == (0, "")
    assert [file.name for file in target.iterdir()] == ["index.html"]


def test_what_fails_costs_the_others_nothing_and_says_why(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    reasons = {
        "/missing": "HTTP Error 404: Not Found",
        "/broken": "HTTP Error 500: Internal Server Error",
        "/circle": r"HTTP Error 303: .*infinite loop(.|\n)*",
        "/short": "the connection was closed 42 bytes too early",
        "/reset": r"\[Errno 104\] Connection reset by peer",
        "/cut-chunk": r"IncompleteRead\(0 bytes read\)",
        "/moved-to-ftp": "unknown url type: ftp",
        "/moved-to-file": "HTTP Error 307: .*not allowed",
        refusing: r"\[Errno 111\] Connection refused",
        "ftp://127.0.0.1/": "unknown url type: ftp",
        "file:///etc/passwd": "unknown url type: file",
        "/\xe9": "'ascii' codec can't encode .*",
        "http://[::1": "Invalid IPv6 URL",
        "http://127.0.0.1:port/": "nonnumeric port: 'port'",
        "http://": "no host given",
        "something else": "unknown url type: 'something else'",
    }
    status, output, errors = download(*reasons, "/file").finish()
    assert status == 1
    assert output == f"{target}/file: 5 bytes from {server.url}/file\n"
    lines = "".join(errors).split("download.py: ")[1:]
    assert len(lines) == len(reasons)
    for url, reason in reasons.items():
        full = re.escape(server.url + url if url.startswith("/") else url)
        assert any(re.fullmatch(f"{full}: {reason}\n", line) for line in lines), (url, errors)
    assert [file.name for file in target.iterdir()] == ["file"]


def test_a_file_that_is_there_is_replaced_by_a_whole_one_only(
    target: Path, download: Callable[..., Child]
) -> None:
    for name in ("file", "short"):
        (target / name).write_text("before")
    assert download("/file", "/short").finish()[0] == 1
    assert (target / "file").read_text() == "/file"
    assert (target / "short").read_text() == "before"


def test_a_file_has_the_permissions_of_any_new_file(
    target: Path, download: Callable[..., Child]
) -> None:
    (target / "new").touch()
    assert download("/file").finish()[0] == 0
    assert (target / "file").stat().st_mode == (target / "new").stat().st_mode


def test_a_timeout_wakes_the_call_and_frees_its_slot_for_the_next(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    child = download("/dripping", "/file", "--jobs", "1", "--timeout", "3")
    status, output, errors = child.finish()
    assert status == 1
    assert output == f"{target}/file: 5 bytes from {server.url}/file\n"
    why = rf"download\.py: .* took longer than 3 s; .*'{server.url}/dripping'\n"
    assert re.fullmatch(why, errors)
    assert server.asked.acquire(timeout=PATIENCE)
    assert server.asked.acquire(timeout=PATIENCE), "the connection stays open"
    assert [file.name for file in target.iterdir()] == ["file"]


@pytest.mark.parametrize("path", ["/slow", "/slow-until-closed", "/slow-chunked"])
def test_a_timeout_in_the_middle_of_a_body_leaves_no_file(
    server: Server, target: Path, download: Callable[..., Child], path: str
) -> None:
    status, output, errors = download(path, "--timeout", "1").finish()
    assert (status, output) == (1, "")
    assert f"{server.url}{path}" in errors
    assert not list(target.iterdir())


@pytest.mark.parametrize("path", ["/slow", "/slow-until-closed", "/slow-chunked"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_body_leaves_no_file(
    target: Path, download: Callable[..., Child], path: str, signum: signal.Signals
) -> None:
    child = download(path)
    wait_for_half(target)
    child.send(signum)
    assert child.finish() == (-signum, "", f"asyncrun: interrupted by {signum.name}\n")
    assert not list(target.iterdir())


def test_a_signal_leaves_no_call_running_that_waits_for_an_answer(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    child = download("/silent?1", "/silent?2", "/dripping?1", "/dripping?2")
    for _ in range(4):
        assert server.asked.acquire(timeout=PATIENCE)
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", "asyncrun: interrupted by SIGINT\n")
    assert not list(target.iterdir())


def test_it_ends_quietly_when_nobody_reads_on(
    server: Server, target: Path, download: Callable[..., Child]
) -> None:
    child = download("/slow", "/silent")
    assert child.process.stdout is not None
    child.process.stdout.close()
    for _ in range(2):
        assert server.asked.acquire(timeout=PATIENCE)
    server.go.set()
    assert child.process.wait(PATIENCE) == -signal.SIGPIPE
    assert child.process.stderr is not None
    assert child.process.stderr.read() == ""
    assert [file.name for file in target.iterdir()] == ["slow"]


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--jobs", "0", "must be >= 1, was 0"),
        ("--jobs", "many", "invalid number value: 'many'"),
        ("--timeout", "0", "must be above 0 and at most 86400, was 0"),
        ("--timeout", "nan", "must be above 0 and at most 86400, was nan"),
        ("--timeout", "inf", "must be above 0 and at most 86400, was inf"),
        ("--timeout", "soon", "invalid seconds value: 'soon'"),
        ("--directory", "/dev/null", "'/dev/null' is not a directory"),
    ],
)
def test_options_out_of_their_range_are_refused(
    start: Callable[..., Child], option: str, value: str, why: str
) -> None:
    status, output, errors = start(EXAMPLE, f"{option}={value}", "http://127.0.0.1:1/").finish()
    assert (status, output) == (2, "")
    assert errors.endswith(f"error: argument {option}: {why}\n")
