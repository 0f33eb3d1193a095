"""Imports of asyncrun against the parts of AnyIO that they import, in fresh interpreters."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Final

from .measuring import PYTHON, Result, compare, compiled_modules

OURS: Final = "from asyncrun import Runner, run, run_sync, safe_point, stop_token"
BASELINE: Final = "import anyio, anyio.to_thread, anyio.from_thread, anyio.lowlevel"


def importing(*, quick: bool) -> list[Result]:
    """Measure whole processes, and then the same without the start of an interpreter."""
    times = 15 if quick else 60
    with compiled_modules() as environment:
        sample = partial(time_of, environment, "-c")
        ours, rival = partial(sample, OURS), partial(sample, BASELINE)
        whole = compare("import of asyncrun's names", ours, rival, bar=1.25, times=times)
        bare = compare("", partial(sample, ""), partial(sample, ""), bar=None, times=times)
    net_of = "import of asyncrun's names, less the bare interpreter"
    return [whole, Result(net_of, whole.ours - bare.ours, whole.rival - bare.ours, 1.25)]


def time_of(environment: dict[str, str], *arguments: str) -> float:
    """Return the seconds that an interpreter takes from its start to its end.

    Raises:
        RuntimeError: It failed.
    """
    command = (PYTHON, *arguments)
    start = time.perf_counter()
    _, status = os.waitpid(os.posix_spawn(PYTHON, command, environment), 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{command} failed")
    return seconds
