"""Print the SHA-256 checksum of every regular file below a directory, as `sha256sum` does.

    uv run examples/checksums.py DIR > SHA256SUMS
    sha256sum --check SHA256SUMS

Ctrl-C ends it at once, wherever it is: in the middle of a large file, of a large directory, or of
a line that waits for its reader (``| less``). What it has printed by then is whole and right.

Three stages run at once, each takes from the one before as it can go on, and nothing piles up: a
walk down the tree, the checksums of a few files at a time (``--jobs``), and the writing of lines.
So memory holds the names of the directories on the way down, however many files there are. The
walk takes names in the order of their bytes, files before subdirectories; the lines come in the
order in which the files are done.

Symbolic links below DIR are not followed, and what is not a regular file is skipped. What cannot
be read is reported on standard error; the rest is done, and the exit status is 1. It needs POSIX.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import select
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import asyncrun
from asyncrun import safe_point, stop_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CHUNK: Final = 256 * 1024
"""Bytes between two safe points: about a millisecond of hashing, and few system calls."""

BATCH: Final = 256
"""Files to find in one call: to begin it costs as much as the checksums of a few small files."""

STDOUT: Final = 1
STDERR: Final = 2


class Line(NamedTuple):
    """What is to be written where."""

    fd: int
    text: bytes


def escape(path: str) -> bytes:
    """Return a path's bytes as `sha256sum` writes them: on one line, whatever is in them."""
    name = os.fsencode(path)
    return name.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")


def files_below(directory: str) -> Iterator[str | OSError]:
    """Walk a tree step by step.

    Yields:
        The path of each regular file, and an error for each directory that cannot be read.
    """
    pending = [directory]
    while pending:
        try:
            files, directories = listing(pending.pop())
        except OSError as error:
            yield error
        else:
            yield from files
            pending += reversed(directories)


def listing(directory: str) -> tuple[list[str], list[str]]:
    """Return the paths of the regular files and of the directories in a directory, sorted."""
    files: list[str] = []
    directories: list[str] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            safe_point()
            if entry.is_file(follow_symlinks=False):
                files.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                directories.append(entry.path)
    return sorted(files, key=os.fsencode), sorted(directories, key=os.fsencode)


def sha256(path: str) -> str | None:
    """Return the checksum of a file's bytes, in hexadecimal; None if it is not a regular file.

    Raises:
        OSError: It cannot be read.
    """
    # The walk has seen a regular file here, but it may have been replaced since: a FIFO must not
    # block the opening, and a symbolic link must not lead out of the tree.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY)
    with os.fdopen(fd, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        checksum = hashlib.sha256()
        while chunk := file.read(CHUNK):
            checksum.update(chunk)
            safe_point()
    return checksum.hexdigest()


def line_for(found: str | OSError) -> Line:
    """Return the line for what the walk has found: a checksum, or what cannot be read and why."""
    safe_point()
    if isinstance(found, OSError):
        return complaint(found.filename, found)
    try:
        digest = sha256(found)
    except OSError as error:
        return complaint(found, error)
    if digest is None:
        return Line(STDOUT, b"")
    name = escape(found)
    mark = b"" if name == os.fsencode(found) else b"\\"
    return Line(STDOUT, b"%s%s  %s\n" % (mark, digest.encode(), name))


def complaint(path: str, error: OSError) -> Line:
    """Return a line that says what cannot be read."""
    why = error.strerror or str(error)
    return Line(STDERR, b"checksums.py: %s: %s\n" % (escape(path), why.encode()))


def write(line: Line) -> int:
    """Write a line, and return where.

    It does without `sys.stdout`, whose buffer is emptied at any byte. A pipe takes PIPE_BUF bytes
    (4 KiB) in one piece or not at all; a longer line is finished if its reader takes it within
    the runner's grace.
    """
    safe_point()
    fd, text = line
    if not select.select([], [fd], [], 0)[1]:
        # Nothing wakes a thread that is blocked in write(). So wait before it, for a stop too.
        woken, waker = socket.socketpair()
        with woken, waker, stop_token().on_stop(waker.shutdown, socket.SHUT_WR):
            select.select([woken], [fd], [])
            safe_point()
    while text:
        text = text[os.write(fd, text) :]
    return fd


async def found_by(
    runner: asyncrun.Runner, walk: Iterator[str | OSError]
) -> AsyncIterator[str | OSError]:
    """Take the steps of a walk in calls: a slow directory must not stop the event loop.

    Yields:
        What the walk yields.
    """
    while batch := await runner.run_sync(list, itertools.islice(walk, BATCH)):
        for found in batch:
            yield found


async def main(directory: str, jobs: int) -> int | OSError:
    """Print all checksums; return the exit status, or why a line could not be written."""
    status = 0
    async with asyncrun.Runner(max_threads=jobs + 2) as runner:  # one for each other stage
        found = found_by(runner, files_below(directory))
        try:
            async with (
                runner.map(line_for, found, ordered=False, max_concurrency=jobs) as lines,
                runner.map(write, lines, max_concurrency=1) as written,
            ):
                async for fd in written:
                    status |= fd == STDERR
        except OSError as error:
            return error
    return status


def exit_status(outcome: int | OSError) -> int | str:
    """Return what to give to `sys.exit`: a number or a message."""
    match outcome:
        case BrokenPipeError():
            # Nobody reads on (`| head -1`): end quietly and by SIGPIPE, as other Unix tools do.
            # Not earlier: asyncio relies on Python's ignoring it when a loop is closed.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.raise_signal(signal.SIGPIPE)
            return 128 + signal.SIGPIPE
        case OSError():
            return f"checksums.py: write error: {outcome.strerror}"
        case status:
            return status


def number_of_jobs(text: str) -> int:
    """Read the value of ``--jobs``.

    Raises:
        ArgumentTypeError: It is not a number above 0.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number >= 1, was {text!r}")
    return int(text)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Print SHA-256 checksums as sha256sum does.")
    parser.add_argument("directory", metavar="DIR", help="where to look for regular files")
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=number_of_jobs,
        default=os.cpu_count() or 1,
        help="files to read at once (default: one for each CPU, as hashing is what takes time)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    if sys.stdout is None or sys.stderr is None:
        # The next descriptors to be opened would get their numbers.
        sys.exit("checksums.py: standard output or standard error is closed")
    arguments = parse_arguments()
    sys.exit(exit_status(asyncrun.run(main, arguments.directory, arguments.jobs)))
