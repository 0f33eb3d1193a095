"""`examples/checksums.py`: beside the real ``sha256sum``, and cut short in every way."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, POLL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

EXAMPLE = Path(__file__).parents[2] / "examples" / "checksums.py"
BYTES = {"encoding": "utf-8", "errors": "surrogateescape"}

# In the order in which the walk takes them.
FILES = {
    os.fsdecode(name): content
    for name, content in {
        b" space at both ends ": b"1",
        b"-leading-dash": b"2",
        b"--help": b"3",
        b"back\\slash": b"4",
        b"back\\nslash": b"5",
        b"carriage\rreturn": b"6",
        b"empty": b"",
        b"latin-1 \xe9": b"7",
        b"line\nfeed": b"8",
        b"several chunks": bytes(range(256)) * 4096 + b"and one byte less than a whole one",
        "utf-8 é".encode(): b"9",
        b"directory/file": b"10",
        b"directory/deeper/\\\n\r/file": b"11",
        b"other/.hidden": b"12",
    }.items()
}

# Root reads what it has no permission to read. These are the capabilities that let it.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
    failed = ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    assert not failed or os.geteuid() != 0
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

ON_A_FULL_DISK = """
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

WITHOUT_OUTPUT = """
import os, sys
os.close(1)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

ONE_FILE = """
import runpy, sys
example = runpy.run_path(sys.argv[1])
print(example["sha256"](sys.argv[2]))
"""


def sha256sum(paths: list[str]) -> list[str]:
    """Return what the real one prints, a line each."""
    result = subprocess.run(
        ["sha256sum", "--", *paths], capture_output=True, check=True, timeout=PATIENCE
    )
    return os.fsdecode(result.stdout).splitlines(keepends=True)


def check(lines: str) -> int:
    """Check the lines with the real one; return how many it found right."""
    result = subprocess.run(
        ["sha256sum", "--check", "--strict"],
        input=os.fsencode(lines),
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (result.returncode, result.stderr) == (0, b""), result
    return result.stdout.count(b": OK\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of regular files with names that need care."""
    root = tmp_path / "tree"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture
def wide(tmp_path: Path) -> list[str]:
    """So many files that their lines do not fit into a pipe; their paths."""
    root = tmp_path / "wide"
    root.mkdir()
    paths = [root / f"{number:04}{'x' * 100}" for number in range(2000)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [str(path) for path in paths]


def wait_until_its_output_is_full(child: Child) -> None:
    pipe = os.open(f"/proc/{child.process.pid}/fd/1", os.O_WRONLY)
    try:
        while select.select([], [pipe], [], 0)[1]:
            assert child.process.poll() is None
            time.sleep(POLL)
    finally:
        os.close(pipe)


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_it_prints_what_sha256sum_prints(
    start: Callable[..., Child], tree: Path, jobs: str
) -> None:
    status, output, errors = start(EXAMPLE, str(tree), "--jobs", jobs, **BYTES).finish()
    assert (status, errors) == (0, "")
    expected = sha256sum([f"{tree}/{name}" for name in FILES])
    assert sorted(output.splitlines(keepends=True)) == sorted(expected)
    assert check(output) == len(FILES)


def test_one_job_takes_names_in_order_and_files_before_directories(
    start: Callable[..., Child], tree: Path
) -> None:
    _, output, _ = start(EXAMPLE, str(tree), "--jobs", "1", **BYTES).finish()
    top = sorted((name for name in FILES if "/" not in name), key=os.fsencode)
    below = ["directory/file", "directory/deeper/\\\n\r/file", "other/.hidden"]
    assert output == "".join(sha256sum([f"{tree}/{name}" for name in top + below]))


@pytest.mark.parametrize("directory", [".", "-tree", "-tree/"])
def test_paths_begin_with_the_directory_as_it_is_given(
    start: Callable[..., Child], tmp_path: Path, directory: str
) -> None:
    (tmp_path / directory).mkdir(exist_ok=True)
    (tmp_path / directory / "file").write_bytes(b"content")
    child = start(EXAMPLE, "--", directory, cwd=tmp_path)
    path = os.path.join(directory, "file")  # noqa: PTH118 - Path would drop the dot
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    with contextlib.chdir(tmp_path):
        assert output == "".join(sha256sum([path]))


def test_what_is_not_a_regular_file_is_skipped(start: Callable[..., Child], tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    (root / "file").write_bytes(b"content")
    (root / "link to a file").symlink_to("file")
    (root / "link to a directory").symlink_to(".")
    (root / "dangling link").symlink_to("nothing")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(root):
        listener.bind("socket")
        status, output, errors = start(EXAMPLE, str(root)).finish()
    assert (status, errors) == (0, "")
    assert output == "".join(sha256sum([str(root / "file")]))


def test_a_fifo_in_the_place_of_a_file_does_not_block(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    child = start(ONE_FILE, str(EXAMPLE), str(tmp_path / "fifo"))
    assert child.finish() == (0, "None\n", "")


def test_what_cannot_be_read_is_reported_and_the_rest_is_done(
    start: Callable[..., Child], tree: Path
) -> None:
    (tree / "line\nfeed").chmod(0)
    (tree / "other").chmod(0)
    try:
        child = start(WITHOUT_PRIVILEGES, str(EXAMPLE), str(tree), **BYTES)
        status, output, errors = child.finish()
    finally:
        (tree / "other").chmod(0o700)
    assert status == 1
    assert sorted(errors.splitlines()) == [
        rf"checksums.py: {tree}/line\nfeed: Permission denied",
        f"checksums.py: {tree}/other: Permission denied",
    ]
    readable = [name for name in FILES if name not in {"line\nfeed", "other/.hidden"}]
    expected = sha256sum([f"{tree}/{name}" for name in readable])
    assert sorted(output.splitlines(keepends=True)) == sorted(expected)


@pytest.mark.parametrize(
    ("name", "why"), [("nothing", "No such file or directory"), ("file", "Not a directory")]
)
def test_it_says_why_it_cannot_begin(
    start: Callable[..., Child], tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / name)
    assert start(EXAMPLE, path).finish() == (1, "", f"checksums.py: {path}: {why}\n")


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5"])
def test_jobs_must_be_a_number_above_0(
    start: Callable[..., Child], tmp_path: Path, jobs: str
) -> None:
    status, output, errors = start(EXAMPLE, str(tmp_path), f"--jobs={jobs}").finish()
    assert (status, output) == (2, "")
    assert errors.endswith(f"error: argument --jobs: must be a number >= 1, was {jobs!r}\n")


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_full_disk_ends_it_with_an_error(
    start: Callable[..., Child], tree: Path, jobs: str
) -> None:
    child = start(ON_A_FULL_DISK, str(EXAMPLE), str(tree), "--jobs", jobs)
    assert child.finish() == (1, "", "checksums.py: write error: No space left on device\n")


def test_it_does_not_write_into_whatever_gets_the_number_of_a_closed_output(
    start: Callable[..., Child], tree: Path
) -> None:
    status, output, errors = start(WITHOUT_OUTPUT, str(EXAMPLE), str(tree)).finish()
    assert (status, output) == (1, "")
    assert errors == "checksums.py: standard output or standard error is closed\n"


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_it_ends_quietly_when_nobody_reads_on(
    start: Callable[..., Child], wide: list[str], jobs: str
) -> None:
    child = start(EXAMPLE, str(Path(wide[0]).parent), "--jobs", jobs)
    assert child.process.stdout is not None
    assert child.process.stderr is not None
    assert check(child.process.stdout.readline()) == 1
    child.process.stdout.close()
    assert child.process.stderr.read() == ""
    assert child.process.wait(PATIENCE) == -signal.SIGPIPE


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_a_signal_ends_it_with_whole_lines_even_if_nobody_reads_them(
    start: Callable[..., Child], wide: list[str], jobs: str, signum: signal.Signals
) -> None:
    child = start(EXAMPLE, str(Path(wide[0]).parent), "--jobs", jobs)
    assert child.process.stdout is not None
    assert child.process.stderr is not None
    wait_until_its_output_is_full(child)
    child.send(signum)
    assert child.process.wait(PATIENCE) == -signum
    read = child.process.stdout.read()
    assert read.endswith("\n")
    assert 1 <= check(read) == read.count("\n") < len(wide)
    first, *others = child.process.stderr.read().splitlines()
    assert first == f"asyncrun: interrupted by {signum.name}"
    # Only a call that had not met its first safe point can be left, and not the one that printed.
    assert all("left running: line_for" in line for line in others)
    assert len(others) < int(jobs)


def test_a_signal_ends_it_in_the_middle_of_a_file(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    (tmp_path / "1").write_bytes(b"content")
    with (tmp_path / "2").open("wb") as file:
        file.truncate(1 << 40)  # hashing all of this hole takes many minutes
    child = start(EXAMPLE, str(tmp_path), "--jobs", "1")
    child.expect(sha256sum([str(tmp_path / "1")])[0].rstrip("\n"))
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", "asyncrun: interrupted by SIGINT\n")
