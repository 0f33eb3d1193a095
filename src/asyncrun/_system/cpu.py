"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity, and its container's quota."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; a user may set it
        count: Callable[[], int | None] = getattr(os, "process_cpu_count")  # noqa: B009
        cores = count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return int(min(cores, _quota()))


CGROUPS: Final = Path("/sys/fs/cgroup")
"""Where Linux has its control groups (of version 2)."""

OWN_CGROUP: Final = Path("/proc/self/cgroup")
"""Where it says in which of them this process is."""


def _quota() -> float:
    try:
        group = OWN_CGROUP.read_text("ascii").rpartition("::")[2].strip()
        quota, period = (CGROUPS / group.lstrip("/") / "cpu.max").read_text("ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # there is none, or it is "max"
        return math.inf
