"""How things are measured here: ours against a rival, in turns, medians, a bar on their ratio.

Rules of this folder:

- A bar is a ratio of two medians that were taken in the same run, a sample of each in turn, so
  that a slow or a busy machine slows both.
- Nobody's set-up is measured: a child says that it is ready, a thread that it waits.
- What is measured is checked too; a fast wrong answer is an error, and ends the run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

BACKENDS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}

PYTHON: Final = sys.executable

Sample = Callable[[], float]
AsyncSample = Callable[[], "Awaitable[float]"]


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the table.

    Attributes:
        name: What was measured.
        ours: Our median.
        rival: The rival's median.
        bar: The most that their ratio may be; None if it is only told.
        unit: What both are measured in: ``s`` or ``B``.
    """

    name: str
    ours: float
    rival: float
    bar: float | None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.rival

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "ok" if self.ratio <= self.bar else "over"


def compare(name: str, ours: Sample, rival: Sample, *, bar: float | None, times: int) -> Result:
    """Take samples in turns, after one of each that does not count."""
    _ = ours(), rival()
    pairs = [(ours(), rival()) for _ in range(times)]
    return Result(name, median(p[0] for p in pairs), median(p[1] for p in pairs), bar)


async def compare_async(
    name: str, ours: AsyncSample, rival: AsyncSample, *, bar: float | None, times: int
) -> Result:
    """Do what `compare` does, in an event loop."""
    _ = await ours(), await rival()
    pairs = [(await ours(), await rival()) for _ in range(times)]
    return Result(name, median(p[0] for p in pairs), median(p[1] for p in pairs), bar)


def run_on(backend: str, main: Callable[..., Awaitable[Result]], *args: object) -> Result:
    """Run an async benchmark on one of `BACKENDS`."""
    kind, options = BACKENDS[backend]
    return anyio.run(partial(main, *args), backend=kind, backend_options=options)


@contextlib.contextmanager
def compiled_modules() -> Generator[dict[str, str]]:
    """Return an environment of children in which modules are compiled once, outside the tree."""
    folder = tempfile.mkdtemp(prefix="asyncrun-benchmarks-")
    unwanted = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    environment = {key: value for key, value in os.environ.items() if key not in unwanted}
    try:
        yield environment | {"PYTHONPYCACHEPREFIX": folder}
    finally:
        shutil.rmtree(folder)
