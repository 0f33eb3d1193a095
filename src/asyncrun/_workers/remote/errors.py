"""The death of a worker process under a call, as an error.

Rule of this module: it is kin to an error of `concurrent.futures`, which takes longer to import
than all the rest of asyncrun. So only modules that start processes import this one.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

from ..._core.errors import describe_exit


class WorkerDied(BrokenProcessPool):
    """A worker process ended under a call.

    It is a `concurrent.futures.process.BrokenProcessPool`, for code that handles that, and so a
    `concurrent.futures.BrokenExecutor` and a `RuntimeError`. No other call is affected.

    Args:
        name: The call's name.
        pid: The process's id.
        returncode: How it ended, as `subprocess.Popen.returncode` says it: its exit status, or
            less than 0: a signal.

    Attributes:
        name: The same.
        pid: The same.
        status: The exit status, or None if a signal ended it.
        signum: That signal, or None.
    """

    name: str
    pid: int
    status: int | None
    signum: int | None

    def __init__(self, name: str, pid: int, returncode: int) -> None:
        super().__init__(name, pid, returncode)
        self.name = name
        self.pid = pid
        self.status = returncode if returncode >= 0 else None
        self.signum = -returncode if returncode < 0 else None

    def __str__(self) -> str:
        how = describe_exit(self.status, self.signum)
        return f"the worker process of {self.name} (process {self.pid}) {how}"
