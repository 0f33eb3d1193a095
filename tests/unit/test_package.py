"""The package as a whole: its names, their docstrings, what importing it costs."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import asyncrun
from asyncrun import futures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Child

HEAVY = {
    "_ctypes",
    "asyncio",
    "concurrent.futures",
    "ctypes",
    "faulthandler",
    "logging",
    "multiprocessing",
    "selectors",
    "socket",
    "ssl",
    "subprocess",
    "trio",
    "uvloop",
}


OWN_FUTURES = ("ProcessPoolExecutor", "ThreadPoolExecutor")
"""The names of `asyncrun.futures` that are not the standard library's."""


def _public() -> Iterator[tuple[str, object]]:
    """Every public name, and every public name of every public class."""
    inner = {name: getattr(futures, name) for name in (*OWN_FUTURES, "install")}
    inner |= {name: getattr(asyncrun.joblib, name) for name in asyncrun.joblib.__all__}
    for name, thing in (
        {name: getattr(asyncrun, name) for name in asyncrun.__all__} | inner
    ).items():
        if not inspect.ismodule(thing):
            yield name, thing
        if isinstance(thing, type):
            for own, member in vars(thing).items():
                if not own.startswith("_") and (callable(member) or isinstance(member, property)):
                    yield f"{name}.{own}", member


PUBLIC = dict(_public())
ASYNC = [name for name, thing in PUBLIC.items() if inspect.iscoroutinefunction(thing)]


def test_all_lists_the_names_that_are_re_exported_in_order() -> None:
    tree = ast.parse(Path(asyncrun.__file__).read_text("utf-8"))
    imported = [
        (alias.name, alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if alias.asname  # not that in __getattr__
    ]
    assert all(name == as_name for name, as_name in imported)
    assert sorted(name for name, _ in imported) == sorted(asyncrun.__all__)
    assert len(set(asyncrun.__all__)) == len(asyncrun.__all__)


def test_there_are_no_other_public_names() -> None:
    modules = {name for name, thing in vars(asyncrun).items() if inspect.ismodule(thing)}
    assert {name for name in modules if name[0] != "_"} == {"futures", "joblib"}
    assert {name for name in vars(asyncrun) if name[0] != "_"} == set(asyncrun.__all__)


def test_contributing_lists_every_module_in_the_order_of_the_layers() -> None:
    root = Path(__file__).parents[2]
    text = (root / "CONTRIBUTING.md").read_text("utf-8")
    listed = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    package = Path(asyncrun.__file__).parent
    paths = [path.relative_to(package).with_suffix("") for path in package.rglob("*.py")]
    modules = {".".join(path.parts) for path in paths if path.name != "__init__"}
    assert sorted(listed) == sorted({"__init__", *modules})
    config = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    contract = config["tool"]["importlinter"]["contracts"][0]
    layers = [each for layer in contract["layers"] for each in layer.split(" | ")]
    packages = [name.partition(".")[0] for name in listed[1:]]
    assert list(dict.fromkeys(packages)) == layers


def test_futures_has_the_whole_namespace_of_the_standard_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import concurrent.futures

    assert set(concurrent.futures.__all__) <= set(dir(futures))
    for name in concurrent.futures.__all__:
        is_own = getattr(futures, name) is not getattr(concurrent.futures, name)
        assert is_own == (name in OWN_FUTURES)
    assert all(hasattr(concurrent.futures, name) for name in {*futures.__all__} - {"install"})
    with monkeypatch.context() as patch:
        patch.setattr(concurrent.futures, "__all__", ["of_a_later_python"])
        patch.setattr(concurrent.futures, "of_a_later_python", 7, raising=False)
        name = "of_a_later_python"
        assert getattr(futures, name) == 7
        delattr(futures, name)
    with pytest.raises(AttributeError, match=r"module 'asyncrun.futures' has no attribute 'Pool'"):
        _ = futures.Pool  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", ["ProcessWorkers", "WorkerDied"])
def test_a_name_that_is_loaded_when_it_is_wanted_is_listed_and_others_are_refused(
    start: Callable[..., Child], name: str
) -> None:
    child = start(f"""
import sys, asyncrun
assert "{name}" in dir(asyncrun) and "concurrent.futures" not in sys.modules
from asyncrun import {name}
assert asyncrun.{name} is {name}
assert "concurrent.futures" in sys.modules
try:
    asyncrun.Execute
except AttributeError as error:
    print(error)
""")
    assert child.finish() == (0, "module 'asyncrun' has no attribute 'Execute'\n", "")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    doc = getattr(PUBLIC[name], "__doc__", None)
    assert doc
    assert doc.strip()
    assert not doc.startswith(f"{name}("), "made by dataclass()"


def _raised(name: str) -> list[str]:
    """Return the names below ``Raises:`` in a docstring."""
    doc = inspect.getdoc(PUBLIC[name]) or ""
    section = re.search(r"^Raises:\n((?: .*\n?|\n)*)", doc, re.MULTILINE)
    return re.findall(r"^ {4}(\S+):", section[1], re.MULTILINE) if section else []


@pytest.mark.parametrize("name", PUBLIC)
def test_an_error_that_a_public_docstring_names_can_be_imported_or_is_built_in(name: str) -> None:
    for error in _raised(name):
        kind: object = getattr(asyncrun if error in asyncrun.__all__ else builtins, error, None)
        assert isinstance(kind, type), error
        assert issubclass(kind, BaseException), error


def test_the_errors_that_docstrings_name_are_found() -> None:
    assert {"Stopped", "TypeError", "RuntimeError", "ValueError"} <= set(_raised("Runner.run_sync"))
    assert _raised("CallInfo") == []


@pytest.mark.parametrize("name", ASYNC)
def test_an_async_function_says_what_a_cancellation_does(name: str) -> None:
    lines = (inspect.getdoc(PUBLIC[name]) or "").splitlines()
    assert any(line.startswith("On cancel: ") for line in lines)


def test_the_async_functions_are_found() -> None:
    assert {"run_sync", "Runner.run_sync"} <= set(ASYNC)


# rule 27
def test_importing_it_adds_nothing_heavy_to_what_anyio_imports(
    start: Callable[..., Child],
) -> None:
    child = start("""
import json, sys
import anyio
before = set(sys.modules)
from asyncrun import Runner, run, run_sync, safe_point, stop_token
print(json.dumps(sorted(set(sys.modules) - before)))
""")
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    added = set(json.loads(output))
    assert "asyncrun._runner.runner" in added
    assert not added & HEAVY


def test_importing_the_package_imports_nothing_else(start: Callable[..., Child]) -> None:
    child = start("""
import sys, typing
before = set(sys.modules)
import asyncrun
print(*set(sys.modules) - before)
""")
    assert child.finish() == (0, "asyncrun\n", "")


def test_a_token_can_be_awaited_where_nothing_else_was_imported(
    start: Callable[..., Child],
) -> None:
    child = start("""
import asyncio
from asyncrun import StopSource

async def main():
    source = StopSource()
    asyncio.get_running_loop().call_soon(source.stop)
    await source.token

asyncio.run(main())
""")
    assert child.finish() == (0, "", "")


def test_importing_it_loads_no_backend_and_touches_no_signal(start: Callable[..., Child]) -> None:
    child = start("""
import signal, sys, threading
def state():
    return [signal.getsignal(s) for s in signal.valid_signals()], sys.excepthook
before = state()
from asyncrun import Runner, run, run_sync
assert state() == before
assert threading.active_count() == 1
backends = ("asyncio", "trio", "anyio._backends")
assert not [name for name in sys.modules if name.startswith(backends)]
""")
    assert child.finish() == (0, "", "")
