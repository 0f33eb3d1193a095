"""Print what a program sees of itself, and end in one of many ways: ``ENDING``."""

import atexit
import os
import pickle
import signal
import sys


def function() -> None:
    raise ValueError("wrong")


def pickled() -> None:
    assert pickle.loads(pickle.dumps(function)) is function


atexit.register(pickled)
names = sorted(globals())
spec = globals().get("__spec__")
print(__name__, sys.argv, sys.path[0], globals().get("__file__"), __package__, names)
loader = type(globals()["__loader__"]).__name__
print(spec and spec.name, spec and spec.origin, loader, globals().get("__cached__"))
print(sys.flags, sys.warnoptions, sys._xoptions, sys.modules["__main__"].__dict__ is globals())
print("on standard error", file=sys.stderr)

sys.stdout.flush()
match sys.argv[1]:
    case "status 0":
        sys.exit(0)
    case "status 3":
        sys.exit(3)
    case "text":
        sys.exit("text")
    case "error":
        function()
    case "os._exit":
        os._exit(7)
    case "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
    case "interrupt":
        signal.raise_signal(signal.SIGINT)
    case "caught":
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print("caught", file=sys.stderr)
    case _:
        pass
