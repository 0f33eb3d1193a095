"""The old program on `concurrent.futures`, with one import line changed: Ctrl-C ends it at once.

Jack waits in a thread and Jill in a process, in calls that nothing can interrupt. With the old
import line the program hangs when Ctrl-C is pressed, until Jack has waited for 100 seconds.
"""

import time

from asyncrun.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed


def wait(name: str) -> str:
    """Block, without ever looking up."""
    print(f"{name} is waiting…", flush=True)
    time.sleep(100)
    return name


def main() -> None:
    """Wait for both."""
    with ThreadPoolExecutor() as threads, ProcessPoolExecutor() as processes:
        futures = [threads.submit(wait, "Jack"), processes.submit(wait, "Jill")]
        for future in as_completed(futures):
            print(f"{future.result()} is back", flush=True)


if __name__ == "__main__":
    main()
