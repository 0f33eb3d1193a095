"""Pickling by value, with cloudpickle: for what another process cannot import by its name.

Rules of this module (rule 20):

- Plain pickle comes first, as it is quicker, and for the same classes to be used in all processes.
- Where a worker cannot import the main module (a notebook, a prompt), plain pickle has no error for
  what is defined there: the worker would have it. So such content is pickled once more.
- Without cloudpickle all is as plain pickle has it, and errors name the extra.
"""

from __future__ import annotations

import sys
import weakref
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable


def by_value_pickler() -> type[pickle.Pickler] | None:
    """Return cloudpickle's pickler; None if it is not installed."""
    try:
        module: Any = import_module("cloudpickle")
    except ImportError:
        return None
    pickler: type[pickle.Pickler] = module.Pickler
    return pickler


# CPython deletes it when a script has come to its end, and calls of executors may still be sent.
_MAIN_FILE: Final[str] = getattr(sys.modules.get("__main__"), "__file__", None) or ""

_seen: tuple[Callable[[], object], bool] = NoneType, False
"""The last main module, and whether it can be imported."""


def is_main_importable() -> bool:
    """Return whether a worker process has in its main module what the one of this process has."""
    global _seen  # noqa: PLW0603 - a cache
    if "ps1" in vars(sys):  # a prompt, perhaps after a script; a notebook (hasattr takes longer)
        return False
    main = sys.modules["__main__"]
    if _seen[0]() is not main:
        if (name := getattr(getattr(main, "__spec__", None), "name", "")) != "":
            # Those of a package, a folder or an archive are not imported by `multiprocessing`.
            found = str(name).rpartition(".")[2] != "__main__"
        else:
            file: str = getattr(main, "__file__", None) or _MAIN_FILE
            found = bool(file) and not file.endswith("<stdin>")
        _seen = weakref.ref(main), found
    return _seen[1]


def pickles_by_name(func: object) -> bool:
    """Return whether a function is pickled by its name: it has no state to lose."""
    if isinstance(func, BuiltinFunctionType):
        return isinstance(func.__self__, ModuleType | NoneType)  # it may be a method
    if not isinstance(func, FunctionType):
        return False
    found: object = sys.modules.get(func.__module__)
    for name in func.__qualname__.split("."):  # as pickle looks for it
        found = getattr(found, name, None)
    return found is func and (func.__module__ != "__main__" or is_main_importable())
