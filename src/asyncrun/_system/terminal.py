"""The modes of the terminal: a program leaves there what it found.

Rules of this module:

- A call that is stuck in `getpass.getpass`, or in `input` with readline, has switched the echo
  off, and never comes to switch it on again. So the modes are noted before calls run, and put
  back when the process ends with such a call.
- A process in the background changes nothing: the terminal is another one's by then.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any, Final

if sys.platform != "win32":  # where a console's modes are of no concern here
    import termios

_found: Final[list[list[Any]]] = []


def note_modes(*, anew: bool = False) -> None:
    """Note the modes that the terminal has now, if there is a terminal.

    Args:
        anew: Whether to do so even if that was done before.
    """
    if sys.platform == "win32":
        return
    if _found and not anew:
        return
    modes: list[Any] = []
    with suppress(OSError, termios.error):
        descriptor = _open()
        try:
            modes = termios.tcgetattr(descriptor)
        finally:
            os.close(descriptor)
    _found[:] = [modes]


def restore_modes() -> None:
    """Put the noted modes back, if they have changed and the terminal is still this process's."""
    if sys.platform == "win32":
        return
    if not _found or not _found[0]:
        return
    with suppress(OSError, termios.error):
        descriptor = _open()
        try:
            is_ours = os.tcgetpgrp(descriptor) == os.getpgrp()
            if is_ours and termios.tcgetattr(descriptor) != _found[0]:
                termios.tcsetattr(descriptor, termios.TCSANOW, _found[0])
        finally:
            os.close(descriptor)


def _open() -> int:
    """Open the controlling terminal, and return its descriptor."""
    if sys.platform == "win32":
        raise OSError
    return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
