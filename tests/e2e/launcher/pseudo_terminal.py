"""Programs in a pseudo-terminal of their own, and a Ctrl-C that is pressed there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.conftest import PATIENCE, POLL

if TYPE_CHECKING:
    from collections.abc import Sequence

POLLS: Final = 2.0
"""Seconds after which a program that has not come to rest is taken for one that polls."""
CTRL_C: Final = b"\x03"
CTRL_BACKSLASH: Final = b"\x1c"


class End(NamedTuple):
    """How a program has ended.

    Attributes:
        status: Its exit status; the negative number of a signal that has ended it.
        text: What it has printed, since it was started.
    """

    status: int
    text: str


class PseudoTerminal:
    """A program that leads a session of its own, whose terminal this is."""

    def __init__(self, command: Sequence[str], directory: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        self._fd, terminal = pty.openpty()
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(terminal)
        self._text = b""

    def expect(self, text: str) -> None:
        """Wait until it has printed a text."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self._text:
            assert time.monotonic() < deadline, self._text.decode()
            assert self._read(), self._text.decode()

    def press(self, key: bytes) -> None:
        """Press a key, once the program is at rest.

        CPython sees a signal that comes just before the main thread sleeps in a lock when the
        thread wakes up.
        """
        status = Path(f"/proc/{self._process.pid}/status")
        deadline = time.monotonic() + POLLS
        before = ""
        while (now := status.read_text().partition("voluntary_ctxt")[2]) != before:
            if time.monotonic() > deadline:  # it never sleeps for long, and sees a signal soon
                break
            before = now
            time.sleep(10 * POLL)
        os.write(self._fd, key)

    def send(self, signum: int) -> None:
        """Send a signal to the program alone."""
        self._process.send_signal(signum)

    def finish(self) -> End:
        """Wait for its end."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, f"it does not end; it has printed {self._text!r}"
        status = self._process.wait(PATIENCE)
        return End(status, self._text.decode().replace("\r", "").replace("^C", ""))

    def close(self) -> None:
        """End it, if it is still there, with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._fd)

    def _read(self) -> bool:
        """Read what there is, for a moment; return whether it is still there."""
        readable, _, _ = select.select([self._fd], [], [], 0.1)
        if readable:
            try:
                content = os.read(self._fd, 65536)
            except OSError:  # Linux says so where nobody has the other end any more
                content = b""
            self._text += content
            return bool(content)
        return True
