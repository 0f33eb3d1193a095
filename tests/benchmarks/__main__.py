"""Measures asyncrun against its rivals: ``uv run python -m tests.benchmarks [--quick] [name ...]``.

It prints a table and exits with status 1 if a limit is missed. Leave the machine alone meanwhile:
what ends 100 threads needs both cores, and its rival does not.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from .bench_call import run_sync, safe_point
from .bench_executor import executing
from .bench_import import importing
from .bench_interrupt import interrupt
from .bench_joblib import parallel
from .bench_launcher import launching
from .bench_map import mapping
from .bench_process import processes
from .bench_process_executor import executing_in_processes
from .bench_wake import waking

if TYPE_CHECKING:
    from collections.abc import Callable

    from .measuring import Result

BENCHMARKS: Final[dict[str, Callable[..., list[Result]]]] = {
    "import": importing,
    "safe_point": safe_point,
    "run_sync": run_sync,
    "stop": waking,
    "map": mapping,
    "interrupt": interrupt,
    "executor": executing,
    "process": processes,
    "process_executor": executing_in_processes,
    "joblib": parallel,
    "launcher": launching,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("name", nargs="*", help=f"one of {', '.join(BENCHMARKS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="fewer samples, less certain")
    options = parser.parse_args()
    names: list[str] = options.name or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    print(f"{'':58}{'ours':>10}{'rival':>10}{'ratio':>8}{'bar':>7}")
    missed = False
    for name in names:
        for result in BENCHMARKS[name](quick=options.quick):
            print(line_of(result), flush=True)
            missed |= result.verdict == "over"
    return int(missed)


def line_of(result: Result) -> str:
    bar = "" if result.bar is None else f"{result.bar:.2f}"
    values = f"{_readable(result.ours, result.unit):>10}{_readable(result.rival, result.unit):>10}"
    return f"{result.name:58}{values}{result.ratio:8.2f}{bar:>7}  {result.verdict}".rstrip()


def _readable(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value / 2**20:.1f} MiB"
    for name, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.2f} {name}"
    return f"{value * 1e9:.0f} ns"


if __name__ == "__main__":
    sys.exit(main())
