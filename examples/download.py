"""Download URLs, a few at a time, each into a file named after the last part of its path.

    uv run examples/download.py https://www.python.org/ https://docs.python.org/3/license.html

A line is printed for each URL as soon as it is done. One that fails, or takes longer than
``--timeout``, costs none of the others anything: a line on standard error says why, and the exit
status is 1. Ctrl-C ends it at once. A file appears under its name when it is whole, and then
replaces one that was there; what is not whole is removed.

A server that never answers leaves no thread behind: a stop shuts down the connection, and so ends
the call that reads from it. Nothing can wake a call that still looks up an address or connects;
it is left, and said so, and the socket's own time-out ends it.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import re
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import unquote

import asyncrun
from asyncrun import safe_point, stop_token

if TYPE_CHECKING:
    from collections.abc import Iterable

CHUNK: Final = 64 * 1024
"""Bytes to take at most between two safe points; less if less is there."""

DAY: Final = 24 * 60 * 60


class DownloadError(Exception):
    """A URL cannot be downloaded: which, and why."""


def shut_down(connection: socket.socket) -> None:
    """End what another thread reads or writes; it may have ended already."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def opener(resources: ExitStack) -> request.OpenerDirector:
    """Return what opens http and https URLs, and nothing else, not even after a redirection.

    Args:
        resources: As long as it is open, a stop of this call shuts down every connection.
    """

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            # A second handle, as urllib may be closing its own just when the stop comes.
            handle = resources.enter_context(self.sock.dup())
            resources.enter_context(stop_token().on_stop(shut_down, handle))
            safe_point()  # the stop may have come while it connected

    class SecureConnection(http.client.HTTPSConnection, Connection):
        """It connects as the other does, and so can be shut down during its handshake too."""

    class Handler(request.HTTPHandler, request.HTTPSHandler):
        def http_open(self, req: request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

        def https_open(self, req: request.Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, req)

    director = request.OpenerDirector()
    for handler in (
        Handler,
        request.ProxyHandler,
        request.UnknownHandler,
        request.HTTPRedirectHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
    ):
        director.add_handler(handler())
    return director


def fetch(url: str, path: Path, timeout: float) -> int:
    """Download a URL into a file, and return its size in bytes."""
    with (
        ExitStack() as resources,
        opener(resources).open(url, timeout=timeout) as response,
        TemporaryDirectory(prefix=".download-", dir=path.parent) as scratch,
    ):
        part = Path(scratch, "part")
        with part.open("wb") as file:
            while True:
                chunk = response.read1(CHUNK)
                safe_point()  # first: a connection that was shut down looks like a whole body
                if not chunk:
                    break
                file.write(chunk)
            size = file.tell()
        if response.length:
            raise OSError(f"the connection was closed {response.length} bytes too early")
        part.replace(path)
    return size


def download(files: dict[str, Path], timeout: float, url: str) -> str:
    """Download a URL, and return the line to print.

    Raises:
        DownloadError: It cannot be downloaded.
    """
    try:
        size = fetch(url, files[url], timeout)
    except Exception as error:
        why: object = error
        if isinstance(error, HTTPError):
            error.close()
        elif isinstance(error, URLError):
            why = error.reason
        safe_point()  # a connection that was shut down fails in many ways
        raise DownloadError(f"{url}: {why}") from error
    return f"{files[url]}: {size} bytes from {url}"


async def main(files: dict[str, Path], jobs: int, timeout: float) -> int:  # noqa: ASYNC109
    """Download all URLs, and return the exit status."""
    status = 0
    # Printing blocks if nobody reads: so it is done in calls, which have a slot of their own.
    say = partial(print, flush=True)
    complain = partial(print, "download.py:", file=sys.stderr, flush=True)
    get = partial(download, files, timeout)
    async with (
        asyncrun.Runner(max_threads=jobs + 1) as runner,
        runner.map(
            get,
            files,
            ordered=False,
            item_timeout=timeout,
            return_exceptions=True,
            max_concurrency=jobs,
        ) as results,
    ):
        async for outcome in results:
            if isinstance(outcome, str):
                await runner.run_sync(say, outcome)
                continue
            status = 1
            # What has timed out is named by a note only.
            notes = outcome.__notes__ if isinstance(outcome, TimeoutError) else ()
            await runner.run_sync(complain, "; ".join([str(outcome), *notes]))
    return status


def files_for(urls: Iterable[str], directory: Path) -> dict[str, Path]:
    """Choose a file for each URL: in this directory, and none for two."""
    files: dict[str, Path] = {}
    for url in dict.fromkeys(urls):
        path = re.split("[?#]", url.partition("://")[2], maxsplit=1)[0].partition("/")[2]
        # Once decoded it may contain anything.
        name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", unquote(path.rpartition("/")[2]))
        if name in {"", ".", ".."}:
            name = "index.html"
        names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(1)))
        taken = set(files.values())
        files[url] = next(file for name in names if (file := directory / name) not in taken)
    return files


def number(text: str) -> int:
    """Read the value of ``--jobs``."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be >= 1, was {value}")
    return value


def seconds(text: str) -> float:
    """Read the value of ``--timeout``."""
    if not 0 < (value := float(text)) <= DAY:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {DAY}, was {value:g}")
    return value


def directory(text: str) -> Path:
    """Read the value of ``--directory``."""
    if not (path := Path(text)).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a directory")
    return path


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Download http and https URLs into files.")
    add = parser.add_argument
    add("urls", metavar="URL", nargs="+", help="its last part names the file, or index.html")
    add("--directory", metavar="DIR", type=directory, default=".", help="where to (default: .)")
    add("--jobs", metavar="N", type=number, default=8, help="URLs at once (default: 8)")
    timeout = "for a URL, from the start to its last byte (default: 60)"
    add("--timeout", metavar="SECONDS", type=seconds, default=60, help=timeout)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse_arguments()
    targets = files_for(arguments.urls, arguments.directory)
    try:
        exit_status = asyncrun.run(main, targets, arguments.jobs, arguments.timeout)
    except* BrokenPipeError:  # nobody reads on (`| head -1`): end by SIGPIPE, as other tools do
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.raise_signal(signal.SIGPIPE)
    else:
        sys.exit(exit_status)
