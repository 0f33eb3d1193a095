"""Processes and process groups as the operating system has them.

Rules of this module:

- What differs between systems is here. Windows has neither process groups nor a way to tie the
  life of one process to that of another: there a worker is terminated, what it has started is not,
  and a worker whose parent is gone ends when it next lets go of the GIL. The latter is so on
  macOS, too.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import ChainMap
from contextlib import contextmanager
from functools import partial
from multiprocessing import process, reduction, spawn
from multiprocessing.context import SpawnProcess, set_spawning_popen
from typing import TYPE_CHECKING, Any, Final, cast

from ..process_group import kill_group_with_parent, terminate_group
from ..remote.serialization import pickle_with

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pickle import Pickler
    from types import ModuleType


class DupFd:
    """A file descriptor that a new process inherits, as what is pickled wants it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def detach(self) -> int:
        """Return it, in the new process."""
        return self._fd


class SpawnContext:
    """Registers what a new process inherits, in place of the ``Popen`` of `multiprocessing`.

    Args:
        environment: Variables that it has beyond those of this process.

    Attributes:
        environment: The same.
        fds: The file descriptors that it inherits.
        DupFd: What such a one is pickled as.
    """

    environment: Mapping[str, str]
    fds: list[int]
    DupFd = DupFd

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.fds = []

    def duplicate_for_child(self, fd: int) -> int:
        """Register a file descriptor that the process inherits; called by what is pickled."""
        self.fds.append(fd)
        return fd

    def inherit(self, fd: int) -> int:
        """Do so, if it is one and not -1."""
        return fd if fd == -1 else self.duplicate_for_child(fd)

    def pickle(self, value: object) -> bytes:
        """Pickle something that may hold locks and queues of `multiprocessing`."""
        return self.pickle_by_value(reduction.ForkingPickler, value)

    def pickle_by_value(self, pickler: type[Pickler], value: object) -> bytes:
        """Do so with a pickler that need not know them."""
        stand_in: Any = self
        set_spawning_popen(stand_in)
        try:
            return pickle_with(_that_forks(pickler), value)
        finally:
            set_spawning_popen(None)


def _that_forks(pickler: type[Pickler]) -> type[Pickler]:
    """Return a pickler that knows what the one of `multiprocessing` knows, too."""
    if pickler is reduction.ForkingPickler:
        return pickler
    tables: list[Any] = [reduction.ForkingPickler(io.BytesIO()), pickler]
    table = ChainMap(*(each.dispatch_table for each in tables))
    return type("ForkingPickler", (pickler,), {"dispatch_table": table})


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
    pickle_child = partial(_pickle_child, bootstrap, context)
    reader, lifeline = os.pipe()
    try:
        popen = _start(reader, lifeline, sockets, pickle_child, context)
    except BaseException:
        os.close(reader)
        os.close(lifeline)
        raise
    if sys.platform == "win32":
        return popen, (lifeline, reader)  # it takes that one when it has started
    os.close(reader)
    return popen, (lifeline,)


def _start(
    reader: int,
    lifeline: int,
    sockets: Sequence[socket.socket],
    pickle_child: Callable[[list[int | bytes]], bytes],
    context: SpawnContext,
) -> subprocess.Popen[bytes]:
    """Start the process, and write to its pipe what `multiprocessing` unpickles there."""
    content, fds = b"", [each.fileno() for each in sockets]
    if sys.platform != "win32":
        # All of it before the start, if it fits: were this process killed in between, the other
        # one would print a traceback.
        content = _write(lifeline, pickle_child([*fds]))
    popen = _popen([reader, *fds, *context.fds], context.environment)
    try:
        if sys.platform == "win32":
            content = pickle_child([each.share(popen.pid) for each in sockets])
        while content and popen.poll() is None:  # if it has ended, that will be seen
            content = _write(lifeline, content)
            time.sleep(0.001)
        if popen.poll() is None:
            kill_group_with_parent(reader, popen.pid)
    except BaseException:
        terminate_group(popen)
        raise
    return popen


def _pickle_child(
    bootstrap: Callable[..., Callable[[], object]],
    context: SpawnContext,
    handles: list[int | bytes],
) -> bytes:
    preparation = _preparation()
    # Not with the rest: what it raises is to be caught.
    main = {key: preparation.pop(key) for key in list(preparation) if "init_main" in key}
    if str(main.get("init_main_from_path")).endswith("<stdin>"):
        main = {}  # there is nothing to import it from
    child = SpawnProcess(target=bootstrap(*handles, main), daemon=False)
    preparation["name"] = child.name
    return context.pickle(preparation) + context.pickle(child)


def _preparation() -> dict[str, Any]:
    """Return what `multiprocessing` tells a new process, whatever runs the main module."""
    main: Any = sys.modules["__main__"]
    if not hasattr(main, "__spec__"):  # pdb of Python 3.11 makes such a one
        main.__spec__ = None
    preparation: dict[str, Any] = spawn.get_preparation_data("")
    if not any("init_main" in key for key in preparation):
        preparation |= _noted_main.get(main, {})
    return {key: _plain(value) for key, value in preparation.items()}


_noted_main: Final[weakref.WeakKeyDictionary[ModuleType, dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)


def note_main() -> None:
    """Note where the main module can be imported from.

    CPython deletes its ``__file__`` when a script has come to its end, and so before it finishes
    the work of executors.
    """
    if not is_importing_main():
        noted = {key: value for key, value in _preparation().items() if "init_main" in key}
        if noted:
            _noted_main[sys.modules["__main__"]] = noted


IMPORTING: Final = (
    "it imports the main module, which starts the program once more; "
    "put what starts it below `if __name__ == '__main__':`"
)


def is_importing_main() -> bool:
    """Return whether this is a new process that imports its main module."""
    return bool(getattr(process.current_process(), "_inheriting", False))


def _plain(value: object) -> object:
    """Return a string as no more than a string: those of `pdb -m` hold code."""
    if isinstance(value, list):
        return [_plain(each) for each in cast("list[object]", value)]
    return str(value) if isinstance(value, str) else value


def _popen(fds: list[int], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {"env": {**os.environ, **environment}} if environment else {}
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - there is none elsewhere

        handle = msvcrt.get_osfhandle(fds[0])
        command = spawn.get_command_line(parent_pid=os.getpid(), pipe_handle=handle)
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
        base: str = getattr(sys, "_base_executable", sys.executable)
        if command[0] == sys.executable != base:  # a launcher: its process is not the one to share
            command[0] = base
            launcher = {"__PYVENV_LAUNCHER__": sys.executable}
            options["env"] = {**os.environ, **environment, **launcher}
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
    with _without_interrupts():
        popen: Any = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)  # noqa: S603
    return cast("subprocess.Popen[bytes]", popen)


@contextmanager
def _without_interrupts() -> Generator[None]:
    """Keep SIGINT from a process that is started here, until the process itself unblocks it.

    Until it has a group of its own, a Ctrl-C reaches it, too, and would kill it.
    """
    if sys.platform == "win32":
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])  # first: what blocks may raise, and block
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _write(fd: int, content: bytes) -> bytes:
    """Write what there is room for to a pipe, and give the rest."""
    if sys.platform == "win32":
        return content[os.write(fd, content) :]
    os.set_blocking(fd, False)
    try:
        return content[os.write(fd, content) :]
    except BlockingIOError:
        return content
