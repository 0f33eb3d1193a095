"""Print the SHA-256 checksum of every regular file below a directory, as `sha256sum` does.

    uv run examples/checksums.py DIR > SHA256SUMS
    sha256sum --check SHA256SUMS

Ctrl-C ends it at once, wherever it is: in the middle of a large file, of a large directory, or of
a line that waits for its reader (``| less``). What it has printed by then is whole and right.

A few calls (``--jobs``) share one walk of the tree, and each takes the next file when it is done
with the one before. So nothing piles up: memory holds the names of the directories on the way
down, however many files there are. The walk takes names in the order of their bytes, files before
subdirectories; the lines come in the order in which the files are done.

Symbolic links below DIR are not followed, and what is not a regular file is skipped. What cannot
be read is reported on standard error; the rest is done, and the exit status is 1. It needs POSIX.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import select
import signal
import stat
import sys
import threading
from typing import TYPE_CHECKING, Final

import asyncrun
from asyncrun import safe_point, stop_token

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK: Final = 256 * 1024
"""Bytes between two safe points: about a millisecond of hashing, and few system calls."""


class Output:
    """Standard output and standard error: whole lines, from any thread.

    It does without `sys.stdout`, whose buffer is emptied at any byte, and whose lock an abandoned
    call could hold while the exiting program wants to flush it.

    Once a write has failed, nothing more is written, and the calls end at their next look.
    """

    def __init__(self) -> None:
        self.complained = False
        self.failure: OSError | None = None
        self._lock = threading.Lock()
        self._woken, self._waker = os.pipe()

    def checksum(self, path: str, digest: str) -> None:
        """Print a file's line on standard output."""
        name = escape(path)
        mark = b"" if name == os.fsencode(path) else b"\\"
        self._write(1, b"%s%s  %s\n" % (mark, digest.encode(), name))

    def complain(self, path: str, error: OSError) -> None:
        """Print a line on standard error that says what cannot be read."""
        self.complained = True
        why = error.strerror or str(error)
        self._write(2, b"checksums.py: %s: %s\n" % (escape(path), why.encode()))

    def _write(self, fd: int, line: bytes) -> None:
        with self._lock:
            if self.failure is not None:
                return
            self._wait_until_writable(fd)
            try:
                # A pipe takes PIPE_BUF bytes (4 KiB) in one piece or not at all. A longer line
                # is finished if its reader takes it within the runner's grace.
                while line:
                    line = line[os.write(fd, line) :]
            except OSError as error:
                self.failure = error

    def _wait_until_writable(self, fd: int) -> None:
        # Nothing wakes a thread that is blocked in write(). So wait before it, and for a second
        # descriptor too, which a stop makes readable.
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.register(self._woken, select.POLLIN)
        with stop_token().on_stop(os.write, self._waker, b"!"):
            while fd not in dict(poll.poll()):
                safe_point()


def escape(path: str) -> bytes:
    """Return a path's bytes as `sha256sum` writes them: on one line, whatever is in them."""
    name = os.fsencode(path)
    return name.replace(b"\\", rb"\\").replace(b"\n", rb"\n").replace(b"\r", rb"\r")


def files_below(directory: str, output: Output) -> Iterator[str]:
    """Walk a tree step by step.

    Yields:
        The path of each regular file.
    """
    pending = [directory]
    while pending:
        try:
            files, directories = listing(pending.pop())
        except OSError as error:
            output.complain(error.filename, error)
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


def sha256(path: str, output: Output) -> str | None:
    """Return the checksum of a file's bytes, in hexadecimal; None if there is none to print.

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
            if output.failure is not None:
                return None
    return checksum.hexdigest()


class Share:
    """An iterator that several threads may take from."""

    def __init__(self, paths: Iterator[str]) -> None:
        self._paths = paths
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        with self._lock:
            return next(self._paths)


def print_checksums(paths: Share, output: Output) -> None:
    """Print the line of one file after the other: a blocking call, of which several may run."""
    for path in paths:
        safe_point()
        if output.failure is not None:
            return
        try:
            digest = sha256(path, output)
        except OSError as error:
            output.complain(path, error)
        else:
            if digest is not None:
                output.checksum(path, digest)


async def main(directory: str, jobs: int) -> Output:
    """Share the files below a directory among so many calls, and wait for all."""
    output = Output()
    paths = Share(files_below(directory, output))
    async with asyncrun.Runner(max_threads=jobs) as runner:
        for _ in range(jobs):
            runner.submit(print_checksums, paths, output)
    return output


def exit_status(output: Output) -> str | int:
    """Return what to give to `sys.exit`: a message or a number."""
    match output.failure:
        case None:
            return int(output.complained)
        case BrokenPipeError():
            # Nobody reads on (`| head -1`): end quietly and by SIGPIPE, as other Unix tools do.
            # Not earlier: asyncio relies on Python's ignoring it when a loop is closed.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.raise_signal(signal.SIGPIPE)
            return 128 + signal.SIGPIPE
        case error:
            return f"checksums.py: write error: {error.strerror}"


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
