# pyright: basic
"""Changes to modules that are imported later."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest

from asyncrun._program.installed import hooks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "changed_by_a_hook"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", sys.meta_path[:])
    monkeypatch.setattr(hooks, "_changes", {})
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_module_is_changed_when_it_is_imported_and_keeps_its_loader(module: str) -> None:
    hooks.when_imported(module, lambda found: setattr(found, "value", 2))
    hooks.when_imported("not_there_at_all", pytest.fail)
    imported = importlib.import_module(module)
    assert imported.value == 2
    loader = imported.__loader__
    assert loader is not None
    assert "exec_module" not in vars(loader)
    assert importlib.reload(imported).value == 1


def test_a_module_that_is_there_is_changed_at_once(module: str) -> None:
    imported = importlib.import_module(module)
    hooks.when_imported(module, lambda found: setattr(found, "value", 3))
    assert imported.value == 3
    assert not hooks._changes


def test_a_module_that_does_not_exist_is_not_found_as_ever(module: str) -> None:
    hooks.when_imported("not_there_at_all", pytest.fail)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        importlib.import_module("not_there_at_all")


def test_a_module_that_is_only_looked_for_is_changed_once(module: str) -> None:
    changed: list[object] = []
    hooks.when_imported(module, changed.append)
    first, second = (importlib.util.find_spec(module) for _ in range(2))
    for spec in (first, second):
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert len(changed) == 1
