"""Processes and process groups as the operating system has them.

Rules of this module:

- What differs between systems is here. Windows has neither process groups nor a way to tie the
  life of one process to that of another: there a worker is terminated, what it has started is not,
  and a worker whose parent is gone ends when it next lets go of the GIL. The latter is so on
  macOS, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing import reduction, spawn
from multiprocessing.context import SpawnProcess, set_spawning_popen
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

TERM_TIMEOUT: Final = 0.1
"""Seconds between SIGTERM and SIGKILL."""

KILL_TIMEOUT: Final = 1.0
"""Seconds after SIGKILL until a process is given up, which the kernel does not let go."""


class DupFd:
    """A file descriptor that a new process inherits, as what is pickled wants it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        """Give it, in the new process."""
        return self._fd


class SpawnContext:
    """What a new process inherits: stands in for what `multiprocessing` calls a ``Popen``.

    Attributes:
        fds: The file descriptors that it inherits.
        DupFd: What such a one is pickled as.
    """

    fds: list[int]
    DupFd = DupFd

    def __init__(self) -> None:
        self.fds = []

    def duplicate_for_child(self, fd: int) -> int:
        """Let the process inherit a file descriptor; called by what is pickled."""
        self.fds.append(fd)
        return fd

    def inherit(self, fd: int) -> int:
        """Do so, if it is one and not -1."""
        return fd if fd == -1 else self.duplicate_for_child(fd)

    def pickle(self, value: object) -> bytes:
        """Pickle something that may hold locks and queues of `multiprocessing`."""
        stand_in: Any = self
        set_spawning_popen(stand_in)
        try:
            return reduction.ForkingPickler.dumps(value).tobytes()
        finally:
            set_spawning_popen(None)


def spawn_worker(
    sockets: Sequence[socket.socket],
    bootstrap: Callable[..., Callable[[], object]],
    context: SpawnContext,
) -> tuple[subprocess.Popen[bytes], tuple[int, ...]]:
    """Start a Python in a process group of its own, with an empty standard input.

    Args:
        sockets: What it is to share with this process.
        bootstrap: Makes what it runs, from what those are there, and from what it needs to import
            the main module.
        context: What else it inherits.

    Returns:
        The process, and file descriptors to keep open: when nobody holds them, all of the process's
        group is killed.

    Raises:
        OSError: There is no such interpreter, no memory, or no process to be had.
    """
    preparation = _preparation()
    # Not with the rest: what it raises is to be caught.
    main = {key: preparation.pop(key) for key in list(preparation) if "init_main" in key}
    if str(main.get("init_main_from_path")).endswith("<stdin>"):
        main = {}  # there is nothing to import it from

    def content_for(*theirs: int | bytes) -> bytes:
        child = SpawnProcess(target=bootstrap(*theirs, main), daemon=False)
        preparation["name"] = child.name
        return context.pickle(preparation) + context.pickle(child)

    reader, lifeline = os.pipe()
    try:
        content = b""
        if sys.platform != "win32":
            # All of it before the start, if it fits: were this process killed in between, the
            # other one would print a traceback.
            content = _write(lifeline, content_for(*(each.fileno() for each in sockets)))
        popen = _popen([reader, *(each.fileno() for each in sockets), *context.fds])
        try:
            if sys.platform == "win32":
                content = content_for(*(each.share(popen.pid) for each in sockets))
            while content and popen.poll() is None:  # if it has ended, that will be seen
                content = _write(lifeline, content)
                time.sleep(0.001)
            if popen.poll() is None:
                _kill_group_with_parent(reader, popen.pid)
        except BaseException:
            terminate_group(popen)
            raise
    except BaseException:
        os.close(reader)
        os.close(lifeline)
        raise
    if sys.platform == "win32":
        return popen, (lifeline, reader)  # it takes that one when it has started
    os.close(reader)
    return popen, (lifeline,)


def _preparation() -> dict[str, Any]:
    """Give what `multiprocessing` tells a new process, whatever runs the main module."""
    main: Any = sys.modules["__main__"]
    if not hasattr(main, "__spec__"):  # pdb of Python 3.11 makes such a one
        main.__spec__ = None
    preparation = spawn.get_preparation_data("")
    return {key: _plain(value) for key, value in preparation.items()}


def _plain(value: object) -> object:
    """Return a string as no more than a string: those of `pdb -m` hold code."""
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[object]", value)]
    return str(value) if isinstance(value, str) else value


def _popen(fds: list[int]) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {}
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - there is none elsewhere

        handle = msvcrt.get_osfhandle(fds[0])
        command = spawn.get_command_line(parent_pid=os.getpid(), pipe_handle=handle)
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        base: str = getattr(sys, "_base_executable", sys.executable)
        if command[0] == sys.executable != base:  # a launcher: its process is not the one to share
            command[0] = base
            options["env"] = {**os.environ, "__PYVENV_LAUNCHER__": sys.executable}
    else:
        from multiprocessing import resource_tracker  # noqa: PLC0415 - Windows has none

        # One for all, as `multiprocessing` has it: a tracker that a worker starts for itself would
        # end with it, and take along what others share.
        tracker = resource_tracker.getfd()
        assert tracker is not None  # noqa: S101 - it runs
        fds = [*fds, tracker]
        command = spawn.get_command_line(pipe_handle=fds[0], tracker_fd=tracker)
        options["pass_fds"] = fds
        options["process_group"] = 0  # so that Ctrl-C in a terminal does not reach it
    popen: Any = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # noqa: S603
    return cast("subprocess.Popen[bytes]", popen)


def _write(fd: int, content: bytes) -> bytes:
    """Write what there is room for to a pipe, and give the rest."""
    if sys.platform == "win32":
        return content[os.write(fd, content) :]
    os.set_blocking(fd, False)
    try:
        return content[os.write(fd, content) :]
    except BlockingIOError:
        return content


def _kill_group_with_parent(lifeline: int, pid: int) -> None:
    """Let the kernel kill a process group when nobody holds the other end of its pipe any more.

    It does so whatever the group's processes do, which a thread in one of them could not: another
    one may hold the GIL. Nothing may be written to the pipe from now on.
    """
    if sys.platform == "linux":
        import fcntl  # noqa: PLC0415 - Windows has none

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -pid)
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


def terminate_group(popen: subprocess.Popen[bytes]) -> None:
    """End a process, and all of its group."""
    _signal(popen, signal.SIGTERM)
    if not wait_until(lambda: _is_gone(popen), TERM_TIMEOUT):
        _signal(popen, getattr(signal, "SIGKILL", signal.SIGTERM))
        wait_until(lambda: popen.poll() is not None, KILL_TIMEOUT)


def _signal(popen: subprocess.Popen[bytes], signum: int) -> None:
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # macOS forbids it for what is dead
            os.killpg(popen.pid, signum)
    popen.send_signal(signum)  # it may have joined another group


def _is_gone(popen: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process has ended, and all of its group, which keeps others off its id."""
    if popen.poll() is None:
        return False
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(popen.pid, 0)
            return False
    return True


def wait_until(is_so: Callable[[], bool], timeout: float) -> bool:
    """Wait until something is so, for at most so many seconds; tell whether it is."""
    deadline, pause = time.monotonic() + timeout, 0.0005
    while not is_so():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.01)
    return True
