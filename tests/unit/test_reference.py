"""The API reference: pdoc renders every public name, and what docstrings refer to is there."""

from __future__ import annotations

import builtins
import importlib
import inspect
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import asyncrun
from tests.unit.test_package import PUBLIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_the_reference_is_rendered_without_a_warning_and_has_every_public_name(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-W", "error", "-m", "pdoc", "asyncrun", "-o", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    anchors = set(re.findall(r'id="([\w.]+)"', (tmp_path / "asyncrun.html").read_text("utf-8")))
    for name in ("futures", "joblib"):
        page = (tmp_path / "asyncrun" / f"{name}.html").read_text("utf-8")
        anchors |= set(re.findall(r'id="([\w.]+)"', page))
    assert set(PUBLIC) <= anchors


def _references(name: str) -> list[str]:
    doc = inspect.getdoc(PUBLIC[name]) or ""
    return re.findall(r"(?<!`)`~?([\w.]+)`(?!`)", doc)


def _scopes(name: str) -> Iterator[object]:
    """Return where a reference of a docstring may begin: its class, the package, the builtins."""
    if "." in name:
        yield PUBLIC[name.partition(".")[0]]
    yield PUBLIC[name]
    yield asyncrun
    yield builtins


def _resolves(reference: str, scope: object) -> bool:
    for part in reference.split("."):
        try:
            scope = getattr(scope, part)
        except AttributeError:
            return False
    return True


def _is_importable(reference: str) -> bool:
    # As Python's own documentation names the methods of an event loop.
    module, _, rest = reference.replace("asyncio.loop.", "asyncio.AbstractEventLoop.").partition(
        "."
    )
    try:
        thing: object = importlib.import_module(module)
    except ImportError:
        return False
    for part in rest.split(".") if rest else []:
        if not hasattr(thing, part) and inspect.ismodule(thing):
            try:
                importlib.import_module(f"{thing.__name__}.{part}")
            except ImportError:
                return False
        if not hasattr(thing, part):
            return _is_instance_attribute(thing, part)
        thing = getattr(thing, part)
    return True


def _is_instance_attribute(cls: object, name: str) -> bool:
    """Return whether a class sets an attribute on its instances, as far as its source tells."""
    return isinstance(cls, type) and f"self.{name} = " in inspect.getsource(cls)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_cross_reference_of_a_docstring_resolves(name: str) -> None:
    for reference in _references(name):
        found = any(_resolves(reference, scope) for scope in _scopes(name))
        assert found or _is_importable(reference), reference


def test_the_cross_references_are_found() -> None:
    assert {"Stopped", "stop_token", "functools.partial"} <= set(_references("Runner.run_sync"))
    assert not _is_importable("asyncrun.nothing")
    assert not _is_importable("no_such_module.thing")
    assert not _is_importable("subprocess.Popen.nothing")
