"""Note what runs at the end of a worker process, in the folders ``theirs`` and ``ours``."""

from __future__ import annotations

import atexit
import threading
import weakref
from multiprocessing import util
from pathlib import Path

from processes.kin import by_asyncrun, by_multiprocessing


class Thing:
    pass


thing = Thing()


def note(folder: str, what: str) -> None:
    with Path(folder, "notes").open("a") as file:
        file.write(what + ";")


def note_late(folder: str) -> None:
    threading.Event().wait(0.3)
    note(folder, "thread")


def ends(folder: str) -> None:
    for priority in (0, 10, -10):
        util.Finalize(None, note, (folder, f"finalizer {priority}"), exitpriority=priority)
    util.Finalize(thing, note, (folder, "finalizer without"))
    weakref.finalize(thing, note, folder, "weak reference")
    atexit.register(note, folder, "exit handler")
    threading.Thread(target=note_late, args=(folder,)).start()


if __name__ == "__main__":
    by_multiprocessing(ends, "theirs")
    by_asyncrun(ends, "ours")
