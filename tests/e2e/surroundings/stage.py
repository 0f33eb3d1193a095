"""Stuck programs in their surroundings: how they start, what they tell, what is left of them."""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, POLL
from tests.e2e.surroundings.tools import PACKAGES, is_missing
from tests.e2e.worker_programs import all_gone, marked, numbers

HERE = Path(__file__).parent


class Stage:
    """A folder with a named pipe, on which programs and shells tell what happens to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.pipe = folder / "pipe"
        self._mark = f"STAGE={folder}"
        os.mkfifo(self.pipe)
        self._descriptor = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self._heard: list[str] = []

    def line(self, template: str) -> str:
        """Return a command line, with the start of the program for ``PROGRAM``."""
        program = ["env", self._mark, sys.executable, str(HERE / "stuck.py"), str(self.pipe)]
        names = self.folder / "names"
        names.write_text("one two")
        for word, path in {
            "PROGRAM": shlex.join(program),
            "SUPERVISOR": shlex.join([sys.executable, str(HERE / "supervisor.py")]),
            "MAKEFILE": str(HERE / "Makefile"),
            "NAMES": str(names),
            "OUT": str(self.out),
        }.items():
            template = template.replace(word, path)
        for tool in {"tmux", *template.split()}.intersection(PACKAGES):
            need(tool)
        return template

    def hear(self, line: str) -> str:
        """Wait for a line that begins so, and return what follows."""
        deadline = time.monotonic() + PATIENCE
        while not (found := [each for each in self._heard if each.startswith(line)]):
            patience = deadline - time.monotonic()
            assert patience > 0, f"nobody told {line!r}, but {self._heard}; {self.marked()} live"
            self._listen(patience)
        self._heard.remove(found[0])
        return found[0].removeprefix(line)

    def _listen(self, patience: float) -> None:
        if select.select([self._descriptor], [], [], patience)[0]:
            *lines, self._rest = (self._rest + os.read(self._descriptor, 65536)).split(b"\n")
            self._heard += [line.decode() for line in lines]

    def silence(self) -> None:
        """Check that nobody has told anything further."""
        self._listen(0)
        assert not self._heard

    def stuck(self, name: str) -> list[int]:
        """Wait until a program is stuck; return the ids of it, of its worker and its grandchild."""
        self.hear(f"{name} thread")
        self.hear(f"{name} thread")
        inside = numbers(self.hear(f"{name} worker ") + " " + self.hear(f"{name} main "))
        deadline = time.monotonic() + PATIENCE
        # The environment of a process that has just begun cannot be read at once.
        while not (outside := self.outside()).keys() >= set(inside):
            assert time.monotonic() < deadline, (inside, outside)
            time.sleep(POLL)
        worker, grandchild, main = (outside[pid] for pid in inside)
        return [main, worker, grandchild]

    def outside(self) -> dict[int, int]:
        """Return the ids that the processes have here, by those in their own namespace."""
        found: dict[int, int] = {}
        for pid in self.marked():
            with suppress(OSError):  # it has ended meanwhile
                status = Path(f"/proc/{pid}/status").read_text()
                found[int(status.partition("NSpid:")[2].splitlines()[0].split()[-1])] = pid
        return found

    def unwound(self, name: str) -> None:
        """Wait until a program has run its ``finally`` block and its exit handler."""
        self.hear(f"{name} unwound")
        self.hear(f"{name} exit")

    def marked(self) -> list[int]:
        """Return what lives of all programs."""
        return marked(self._mark)

    def gone(self, pids: list[int]) -> None:
        """Wait until the processes have ended, and check that no others live."""
        assert all_gone(pids), pids
        assert all_gone(self.marked())
        assert not self.marked()
        self.silence()

    def close(self) -> None:
        os.close(self._descriptor)
        for pid in self.marked():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def need(tool: str) -> None:
    """Fail where a tool is missing."""
    if tool in PACKAGES and is_missing(tool):
        pytest.fail(f"{tool} is missing: apt-get install {PACKAGES[tool]}")


def last_words(signum: signal.Signals) -> str:
    """Return a pattern of what a program prints at its end."""
    left = r"asyncrun: left running: (stuck|asking)_thread, [\d.]+ s, at \S+:\d+\n"
    return rf"asyncrun: interrupted by {signum.name}\n({left}){{2}}"
