"""Print whether a worker process of a daemonic process is daemonic."""

from __future__ import annotations

import multiprocessing

from common import say
from processes.kin import by_asyncrun


def nested() -> None:
    say(by_asyncrun(is_daemonic))


def is_daemonic() -> bool:
    return multiprocessing.current_process().daemon


if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=nested, daemon=True)
    process.start()
    process.join()
