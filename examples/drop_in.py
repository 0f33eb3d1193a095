"""The old program on `concurrent.futures`, with one import changed: Ctrl-C ends it at once.

Jack and Jill wait in calls that nothing can interrupt. With `ThreadPoolExecutor` in place of
`Executor` the program hangs when Ctrl-C is pressed, until both have waited for 100 seconds.
"""

import time
from concurrent.futures import as_completed

from asyncrun import Executor  # was: from concurrent.futures import ThreadPoolExecutor as Executor


def wait(name: str) -> str:
    """Block, without ever looking up."""
    print(f"{name} is waiting…", flush=True)
    time.sleep(100)
    return name


def main() -> None:
    """Wait for both."""
    with Executor() as executor:
        futures = [executor.submit(wait, name) for name in ("Jack", "Jill")]
        for future in as_completed(futures):
            print(f"{future.result()} is back", flush=True)


if __name__ == "__main__":
    main()
