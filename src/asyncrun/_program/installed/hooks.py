"""Changes to modules that the program may import later, or never.

Rule of this module: a module is changed when its body has been executed, and before whoever imports
it sees it. Its loader stays the one that it has.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Change = Callable[[Any], object]

_changes: Final[dict[str, Change]] = {}


def when_imported(name: str, change: Change) -> None:
    """Change a module, now or when it has been imported.

    Args:
        name: Its full name.
        change: Called with the module.
    """
    if (module := sys.modules.get(name)) is not None:
        change(module)
        return
    _changes[name] = change
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


@final
class _Finder:
    """A finder that leaves the finding to the others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module that is to be changed, and have it changed by its loader."""
        if name not in _changes:
            return None
        for finder in sys.meta_path:
            if finder is not self and (find := getattr(finder, "find_spec", None)) is not None:
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    _change_as_loaded(spec.loader, name)
                    return spec
        return None


_finder: Final[Any] = _Finder()


def _change_as_loaded(loader: Any, name: str) -> None:
    execute: Callable[[ModuleType], None] = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module  # it covers the one of the class
        execute(module)
        if (change := _changes.pop(name, None)) is not None:
            change(module)

    loader.exec_module = exec_module
