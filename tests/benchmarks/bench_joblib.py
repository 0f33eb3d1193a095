"""joblib's tasks on our processes and on loky's, each in a program of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from statistics import median
from typing import Final

from .measuring import PYTHON, Result

PROGRAM: Final = Path(__file__).parent / "programs" / "joblib_tasks.py"

NAMES: Final = (
    ("20000 no-ops, with the start of processes", 1.2),
    ("20000 no-ops", 1.2),
    ("an array of 100 MiB for each of 4 tasks", 1.0),
)


def parallel(*, quick: bool) -> list[Result]:
    """Measure each backend in turns."""
    ours: list[list[float]] = []
    rivals: list[list[float]] = []
    for _ in range(5 if quick else 15):
        ours.append(_seconds("asyncrun"))
        rivals.append(_seconds("loky"))
    medians = [[*map(median, zip(*each, strict=True))] for each in (ours, rivals)]
    return [
        Result(f"joblib: {name}", mine, theirs, bar)
        for (name, bar), mine, theirs in zip(NAMES, *medians, strict=True)
    ]


def _seconds(backend: str) -> list[float]:
    output = subprocess.check_output((PYTHON, str(PROGRAM), backend), text=True)
    return [float(word) for word in output.split()]
