"""Run cells in a Jupyter kernel, interrupt some of them, and print what came of each.

A cell that is to be interrupted prints "ready" when it is.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from jupyter_client.manager import KernelManager

from common import say

PATIENCE = 30.0


class Notebook:
    """A kernel with one client."""

    def __init__(self) -> None:
        self._manager: Any = KernelManager()
        self._manager.start_kernel()
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(PATIENCE)

    def run(self, code: str) -> dict[str, Any]:
        """Run a cell; return what it has printed, its error, and when it was interrupted."""
        message_id = self._client.execute(code)
        printed, error, interrupted = "", None, None
        while True:
            message = self._client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "error":
                error = content["ename"]
            elif kind == "status" and content["execution_state"] == "idle":
                break
            if interrupted is None and "ready" in printed:
                interrupted = time.monotonic()
                self._manager.interrupt_kernel()
        return {"printed": printed, "error": error, "interrupted": interrupted}

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


notebook = Notebook()
try:
    for cell in json.load(sys.stdin):
        say(json.dumps(notebook.run(cell)))
finally:
    notebook.close()
