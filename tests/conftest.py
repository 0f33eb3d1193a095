"""Shared by all tests: the backends, the check that nothing is left, and child processes."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from asyncrun._core.registry import all_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A child spends half of its start on compiling, unless one of them may keep the bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
PATIENCE = 30.0
"""Seconds after which a test gives up; it only tells a hang from a slow machine."""
POLL = 0.002
"""Seconds between two looks at another process: a loop without a pause takes the core that the
process needs."""
PROGRAMS = Path(__file__).parent / "e2e" / "programs"
"""Programs that tests start, where they are longer than ten lines."""


def pytest_xdist_auto_num_workers() -> int:
    """Run more tests at once than there are cores: most of them wait for child processes."""
    return 2 * (os.cpu_count() or 1)


REPEATED = {("tests/contract", "uvloop"), ("tests/e2e", "uvloop"), ("tests/e2e", "trio")}
"""Tests of a folder on a further backend, which fail where those on asyncio do: uvloop differs from
it in few calls, and how a process ends depends on the version of Python more than on its loop."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take for exhaustive what is the same once more on a further backend."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            folder = "/".join(item.path.relative_to(config.rootpath).parts[:2])
            if any((folder, part) in REPEATED for part in item.callspec.id.split("-")):
                item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(params=list(BACKENDS.values()), ids=list(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend, for tests that run it in a child process."""
    name: str = request.param
    return name


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Make children interruptible even where a shell or `nohup` has made this job ignore that."""
    for signum, default in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, default)


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """Open what libuv opens once per process, and start what `multiprocessing` starts once."""
    resource_tracker.ensure_running()
    for name, options in BACKENDS.values():
        anyio.run(anyio.sleep, 0, backend=name, backend_options=options)


def _descriptors() -> set[str]:
    return {fd.name for fd in Path("/proc/self/fd").iterdir() if fd.exists()}


def children() -> set[int]:
    """Return the ids of this process's children, be they alive or not yet waited for."""
    found: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def _trackers() -> set[int]:
    """Return the ids of the children that live on: the tracker that workers share, and joblib's."""
    trackers: list[Any] = [resource_tracker]
    if (joblibs := sys.modules.get("joblib.externals.loky.backend.resource_tracker")) is not None:
        trackers.append(joblibs)
    return {each._resource_tracker._pid for each in trackers} - {None}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = _descriptors()
    yield
    deadline = time.monotonic() + PATIENCE
    while all_running() and time.monotonic() < deadline:
        time.sleep(POLL)
    assert not all_running(), "a call is still running"
    assert children() == _trackers(), "a child process is left"
    if _descriptors() - before:
        gc.collect()
    assert not _descriptors() - before, "a descriptor is still open"


class Child:
    """A Python program in a process and a session of its own."""

    def __init__(self, *command: str, **options: Any) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        defaults: dict[str, Any] = {"stdin": subprocess.PIPE, "env": environment}
        options = defaults | {"start_new_session": True} | options
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def expect(self, *lines: str) -> None:
        """Wait until the child has printed these lines, in any order; by default ``ready``."""
        wanted = sorted(lines or ["ready"])
        got = sorted(self._line() for _ in wanted)
        if got != wanted:
            _, errors = self.process.communicate(timeout=PATIENCE)
            pytest.fail(f"wanted the lines {wanted}, got {got}; standard error:\n{errors}")

    def _line(self) -> str:
        assert self.process.stdout is not None
        got, byte = b"", b""
        while byte != b"\n":  # byte by byte: communicate() does not see what was read ahead
            if not (byte := os.read(self.process.stdout.fileno(), 1)):
                break
            got += byte
        return got.decode().removesuffix("\n")

    def rest(self, where: str = "poll") -> None:
        """Wait until the main thread waits in its event loop's poll, or elsewhere in the kernel.

        Where nothing sets a wake-up descriptor (asyncio under any entry point but ours), a signal
        that comes just before the poll is seen when something else ends it.
        """
        wchan = Path(f"/proc/{self.process.pid}/wchan")
        deadline = time.monotonic() + PATIENCE
        while where not in wchan.read_text():
            assert time.monotonic() < deadline, "it does not come to rest"
            time.sleep(POLL)

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def finish(self, said: str | None = None) -> tuple[int, str, str]:
        """Send the last that there is to say, and wait for the end.

        Give the status, and the rest of standard output and error.
        """
        stdin = self.process.stdin
        if said is None:
            self.process.stdin = None  # communicate() would close it
        try:
            output, errors = self.process.communicate(said, timeout=PATIENCE)
        finally:
            self.process.stdin = stdin
        return self.process.returncode, output, errors

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def start(nothing_is_left: None) -> Iterator[Callable[..., Child]]:
    """Start a child: ``start(script_or_command, *args, **Popen_options)``."""
    children: list[Child] = []

    def start(script: str | Path, *args: str, **options: Any) -> Child:
        command = (str(script),) if isinstance(script, Path) else ("-c", script)
        child = Child(sys.executable, *command, *args, **options)
        children.append(child)
        return child

    yield start
    for child in children:
        child.close()
