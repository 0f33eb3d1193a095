"""The numbers in the frames between the parent and a worker process."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """The kind of a frame from a worker process."""

    READY = 0
    RETURNED = 1
    RAISED = 2


NO_PERMIT: Final = 256
"""In place of a permit's epoch: the call may start at once."""
