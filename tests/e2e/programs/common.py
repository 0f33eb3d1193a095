"""Shared by the programs that tests start: ``PROGRAM BACKEND ARGUMENTS``.

A program whose test needs no certain backend is given ``asyncio``. The tests of this folder have it
on their path; by hand: ``PYTHONPATH=tests/e2e/programs python PROGRAM asyncio``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

OPTIONS: dict[str, dict[str, Any]] = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}
run_options = OPTIONS[sys.argv[1] if len(sys.argv) > 1 else "asyncio"]


def say(*words: object) -> None:
    """Write a line at once and in one piece, whichever thread or handler this is in."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())
