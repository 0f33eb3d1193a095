"""Ctrl-C ends a program whose threads are stuck in calls that nothing can interrupt.

Run it, and press Ctrl-C::

    uv run examples/control_c.py
    uv run examples/control_c.py --backend trio

The prompt is back at once, although both threads would sleep on for 100 seconds. The program says
which calls it left running and where they are, prints no traceback, and dies by SIGINT, so that a
shell loop around it stops too. SIGTERM works alike.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import asyncrun

BACKENDS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


def wait(name: str) -> None:
    """Block, as a call into a driver or a C library does, without ever looking at a flag."""
    print(f"{name} is waiting…", flush=True)
    time.sleep(100)


async def main() -> None:
    """Run two calls that never end by themselves; leaving the block waits for both."""
    async with asyncrun.Runner() as runner:
        runner.submit(wait, "Jack", name="Jack")
        runner.submit(wait, "Jill", name="Jill")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Two stuck threads, to be ended by Ctrl-C.")
    parser.add_argument("--backend", choices=list(BACKENDS), default="asyncio")
    asyncrun.run(main, **BACKENDS[parser.parse_args().backend])
