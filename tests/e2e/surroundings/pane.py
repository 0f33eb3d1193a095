"""A shell in a terminal, and a person who types there."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE, POLL

if TYPE_CHECKING:
    from tests.e2e.surroundings.stage import Stage


class Pane:
    """A shell in a window of a private tmux server."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._name = f"surroundings-{os.getpid()}-{time.monotonic_ns()}"
        self._tmux(
            *("new-session", "-d", "-x", "400", "-y", "50"),
            *("-e", f"PROMPT_COMMAND=echo shell $? >{stage.pipe}", "-c", str(stage.folder)),
            *("bash", "--noprofile", "--norc", "-i"),
        )
        self.shell = int(self._tmux("display-message", "-p", "#{pane_pid}"))
        self.ended(0)

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *words]
        return subprocess.check_output(command, text=True, timeout=PATIENCE)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self.key("Enter")

    def key(self, key: str) -> None:
        self._tmux("send-keys", key)

    def ended(self, status: int) -> None:
        """Wait for the shell's next prompt, and check the status before it."""
        assert self._stage.hear("shell ") == str(status), self.screen()

    def modes(self) -> str:
        """Return the modes of the terminal as a program finds them."""
        path = self._stage.folder / "modes"
        self.type(f"stty -g >{path}")
        self.ended(0)
        return path.read_text()

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def shows(self, pattern: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.screen()):
            assert time.monotonic() < deadline, self.screen()
            time.sleep(POLL)

    def kill_window(self) -> None:
        self._tmux("kill-window")

    def close(self) -> None:
        command = ["tmux", "-L", self._name, "kill-server"]
        # Its last window may be closed, and the server gone.
        subprocess.run(command, check=False, timeout=PATIENCE, stderr=subprocess.DEVNULL)
