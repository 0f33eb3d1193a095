"""What the programs that tests write begin with: ``HEAD + code``, run with a backend's name."""

HEAD = """
import atexit, os, signal, sys, threading, time
import anyio, asyncrun
from anyio import CancelScope, get_cancelled_exc_class, sleep_forever

def say(*words):
    print(*words, flush=True)

run_options = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}[sys.argv[1] if len(sys.argv) > 1 else "asyncio"]
"""

LAST_LINE = "asyncrun: interrupted by SIGINT\n"
