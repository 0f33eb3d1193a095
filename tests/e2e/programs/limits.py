"""The memory of this process: how much there is, and how much it may be."""

from __future__ import annotations

import resource
from pathlib import Path


def used() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def limit_memory(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
