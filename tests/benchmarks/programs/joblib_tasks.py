# pyright: basic
"""Time joblib's tasks on a backend, no-ops and a large array: ``BACKEND``; prints seconds."""

from __future__ import annotations

import sys
import time

import joblib
import numpy as np

import asyncrun.joblib

TASKS = 20_000


def noop(number: int) -> int:
    return number


def first(array: np.ndarray) -> float:
    return float(array[0])


def main() -> None:
    asyncrun.joblib.register()
    array = np.ones(100 * 2**17)  # 100 MiB
    with joblib.parallel_config(backend=sys.argv[1], n_jobs=2):
        begin = time.perf_counter()
        results = joblib.Parallel()(joblib.delayed(noop)(n) for n in range(TASKS))
        cold = time.perf_counter() - begin
        assert results == list(range(TASKS))
        begin = time.perf_counter()
        joblib.Parallel()(joblib.delayed(noop)(n) for n in range(TASKS))
        warm = time.perf_counter() - begin
        begin = time.perf_counter()
        assert joblib.Parallel()(joblib.delayed(first)(array) for _ in range(4)) == [1.0] * 4
        print(cold, warm, time.perf_counter() - begin)


if __name__ == "__main__":
    main()
