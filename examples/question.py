"""The program of the question: on `concurrent.futures` alone, and not to be ended by Ctrl-C.

Start it in the usual way, and press Ctrl-C until it is gone: three times, with stack traces::

    uv run examples/question.py

Start the same file by the launcher, and press Ctrl-C once. The prompt is back at once, with a line
for each call that was left running::

    uv run python -m asyncrun examples/question.py
"""

from __future__ import annotations

import concurrent.futures
import time


def wait_a_bit(name: str) -> None:
    """Block for a long time, as a call into a slow service does."""
    print(f"{name} is waiting...", flush=True)
    time.sleep(100)


def control_c_this() -> None:
    """Start two such calls, and wait for both."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=5) as executor:
        jack = executor.submit(wait_a_bit, name="Jack")
        jill = executor.submit(wait_a_bit, name="Jill")
        for future in concurrent.futures.as_completed([jack, jill]):
            future.result()
        print("All done!")


if __name__ == "__main__":
    control_c_this()
