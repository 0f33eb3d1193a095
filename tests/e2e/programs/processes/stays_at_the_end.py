"""Stay for long as a worker process ends: ``asyncio STATEMENT STATEMENT``.

The first statement registers `last`, the second one comes before it.
"""

from __future__ import annotations

import atexit
import os
import sys
from multiprocessing import util

from common import say
from processes.kin import by_asyncrun
from processes.workload import nap

NAMES = {"atexit": atexit, "util": util, "os": os}


def last() -> None:
    say(os.getpid())
    nap()


def prepare() -> None:
    exec(sys.argv[3], NAMES | {"last": last})
    exec(sys.argv[2], NAMES | {"last": last})


if __name__ == "__main__":
    by_asyncrun(prepare)
