"""Print what is different in a worker process of ours and in one of `multiprocessing`."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from typing import Any

from common import say
from processes.kin import by_asyncrun, by_multiprocessing


def look() -> dict[str, object]:
    here: Any = multiprocessing.current_process()
    parent: Any = multiprocessing.parent_process()
    say(here.name, here._identity, parent.name)
    return {
        "kind": type(here).__name__,
        "daemon": here.daemon,
        "key": bytes(here.authkey),
        "parent": (type(parent).__name__, parent.name, parent.pid == os.getppid()),
        "lives": (parent.is_alive(), parent.join(0), here.is_alive(), here.pid == os.getpid()),
        "method": multiprocessing.get_start_method(),
        "children": multiprocessing.active_children(),
        "threads": threading.active_count(),
        "folder": os.getcwd(),  # noqa: PTH109 - as the system says it
        "path": sys.path,
        "arguments": sys.argv,
        "main": sys.modules["__main__"].__name__,
        "file": sys.modules["__main__"].__file__,
        "input": sys.stdin.read(),
        "flags": tuple(sys.flags),
        "log": multiprocessing.get_logger().level,
    }


if __name__ == "__main__":
    multiprocessing.current_process().name = "Boss"
    multiprocessing.get_logger().setLevel(25)
    theirs = by_multiprocessing(look)
    ours = by_asyncrun(look)
    say([(key, theirs[key], ours[key]) for key in theirs if theirs[key] != ours[key]])
    assert not multiprocessing.active_children()
    by_asyncrun(by_asyncrun, look)
