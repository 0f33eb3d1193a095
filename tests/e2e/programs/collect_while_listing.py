"""List the threads while each object may start a garbage collection.

On CPython 3.11.7 the same with `sys._current_frames` stands still (gh-106883).
"""

from __future__ import annotations

import gc
import threading
from typing import Any

from asyncrun._core.registry import current_frames

gc.set_threshold(1)
for _ in range(100):
    gc.disable()
    cycle: list[Any] = [threading.local()]
    cycle.append(cycle)
    del cycle
    gc.enable()
    assert threading.get_ident() in current_frames()
    assert gc.isenabled()
gc.disable()
current_frames()
assert not gc.isenabled()
