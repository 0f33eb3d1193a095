"""Programs under ``python -m asyncrun`` against the same under ``python``."""

from __future__ import annotations

import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from .bench_import import time_of
from .measuring import PYTHON, Result, compare, compiled_modules

LAUNCHER: Final = ("-m", "asyncrun")
ALLOWED: Final = 0.06
"""Seconds that a start may take beyond that of ``python``."""

TIMED: Final = """\
import time
{imports}
if __name__ == "__main__":
    start = time.perf_counter()
    {body}
    print(time.perf_counter() - start)
"""
PROGRAMS: Final = {
    "computes": ("", "sum(i * i for i in range(3_000_000))"),
    "maps in threads": (
        "from concurrent.futures import ThreadPoolExecutor",
        "list(ThreadPoolExecutor(4).map(abs, range(20_000)))",
    ),
    "maps in forked processes": (
        "from concurrent.futures import ProcessPoolExecutor",
        "list(ProcessPoolExecutor(2).map(abs, range(2_000)))",
    ),
}


def launching(*, quick: bool) -> list[Result]:
    """Measure the start of a program, and how long three of them run."""
    times = 5 if quick else 25
    with compiled_modules() as environment, tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.touch()
        ours, plain = (
            partial(time_of, environment, *launcher, str(script)) for launcher in (LAUNCHER, ())
        )
        start = compare("start of a program", ours, plain, bar=None, times=times)
        results = [
            start,
            Result("the launcher's part of it; the limit", start.ours - start.rival, ALLOWED, 1.0),
        ]
        for name, (imports, body) in PROGRAMS.items():
            script.write_text(TIMED.format(imports=imports, body=body))
            ours, plain = (
                partial(_run, environment, *launcher, str(script)) for launcher in (LAUNCHER, ())
            )
            title = f"a program that {name}"
            results.append(compare(title, ours, plain, bar=1.1, times=max(times // 3, 5)))
    return results


def _run(environment: dict[str, str], *arguments: str) -> float:
    return float(subprocess.check_output([PYTHON, *arguments], env=environment))
