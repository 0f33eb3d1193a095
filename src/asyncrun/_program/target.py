"""The start of a script, module, directory or zip file in this process, as ``python`` does it.

Rules of this module:

- The program sees what it would see without a launcher: ``sys.argv``, ``sys.path[0]``, and a
  ``__main__`` of its own, which lives to the end of the process.
- A traceback begins with the program's frames: `execute` is the last of ours, and cut off.
- Modules, directories and zip files are `runpy`'s, as they are CPython's.
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from functools import partial
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from pkgutil import get_importer
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

CANNOT_OPEN: Final = 2
"""The status of CPython where it cannot open a script."""

NO_ENCODING: Final = (
    "Non-UTF-8 code starting with '\\x{byte:02x}' in file {file} on line {line}, "
    "but no encoding declared; see https://peps.python.org/pep-0263/ for details"
)


def prepare(arguments: list[str], *, is_module: bool) -> Callable[[], object]:
    """Set up the process for a program.

    Args:
        arguments: The script, directory, zip file, ``-`` or name of a module, and what follows it.
        is_module: Whether it is the name of a module.

    Returns:
        A function that runs the program, without a frame of its own.

    Raises:
        SystemExit: There is no such file.
        SyntaxError: It is not Python.
        RuntimeError: It is not the bytecode of this Python.
    """
    name = arguments[0]
    main = _make_main()
    sys.argv[:] = ["-m" if is_module else name, *arguments[1:]]
    if is_module:
        _prepend_path(str(Path.cwd()))
        return _module_runner(name, alter_argv=True)
    if name == "-":
        _prepend_path("")
        main.__loader__ = BuiltinImporter
        vars(main).update(__file__="<stdin>", __cached__=None)
        code = _compile(sys.stdin.buffer.read(), "<stdin>")
        return partial(exec, code, vars(main))
    # As CPython does, which leaves a "./", and needs no current directory for an absolute path.
    path = name if os.path.isabs(name) else os.path.join(Path.cwd(), name)  # noqa: PTH117, PTH118
    if get_importer(path) is not None:  # a directory or a zip file
        sys.path.insert(0, path)
        return _module_runner("__main__", alter_argv=False)
    _prepend_path(os.path.dirname(os.path.realpath(path)))  # noqa: PTH120
    return partial(exec, _load(path, main), vars(main))


def execute(run: Callable[[], object]) -> None:
    """Run a program: the last frame of ours in its tracebacks."""
    run()


def own_part(tb: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that is the program's."""
    while tb is not None:
        if tb.tb_frame.f_code is execute.__code__:
            return tb.tb_next
        tb = tb.tb_next
    return None  # it was not compiled


def _make_main() -> ModuleType:
    """Put a new main module in the place of ours."""
    main = ModuleType("__main__")
    vars(main)["__builtins__"] = builtins
    others = {"__annotations__"} & vars(sys.modules["__main__"]).keys()  # until Python 3.13
    vars(main).update((name, {}) for name in others)
    sys.modules["__main__"] = main
    return main


def _prepend_path(path: str) -> None:
    if not sys.flags.safe_path:
        sys.path.insert(0, path)


def _module_runner(name: str, *, alter_argv: bool) -> Callable[[], object]:
    import runpy  # noqa: PLC0415 - scripts do without

    # What CPython itself calls, with whose frames its tracebacks begin.
    run: Callable[..., object] = runpy._run_module_as_main  # type: ignore[attr-defined] # noqa: SLF001
    return partial(run, name, alter_argv)


def _load(path: str, main: ModuleType) -> CodeType:
    main.__file__ = path
    vars(main)["__cached__"] = None
    is_compiled = path.endswith(".pyc")
    loader: Any = (SourcelessFileLoader if is_compiled else SourceFileLoader)("__main__", path)
    main.__loader__ = loader
    try:
        content: bytes = loader.get_data(path)
    except OSError as exc:
        what = f"[Errno {exc.errno}] {exc.strerror}"
        print(f"{sys.executable}: can't open file {path!r}: {what}", file=sys.stderr)
        raise SystemExit(CANNOT_OPEN) from None
    if not is_compiled:
        return _compile(content, path)
    try:
        code: CodeType = loader.get_code("__main__")
    except ImportError:
        raise RuntimeError("Bad magic number in .pyc file") from None
    return code


def _compile(source: bytes, file: str) -> CodeType:
    """Compile a program; fail with the words in which CPython refuses a file."""
    if b"\0" in source:
        number, text = _line_with(source, source.index(b"\0"))
        where = (file, number, None, text.decode("utf-8", "replace"))
        raise SyntaxError("source code cannot contain null bytes", where)
    try:
        return compile(source, file, "exec", dont_inherit=True)
    except SyntaxError as exc:
        raise _error_of_file(exc, source, file) from None


def _error_of_file(error: SyntaxError, source: bytes, file: str) -> SyntaxError:
    """Return the error that CPython has for a file where it has `error` for its content."""
    if error.lineno == 0:  # another encoding, and not that
        cookie = re.search(rb"coding[:=][ \t]*([-\w.]+)", source)
        name = b"" if cookie is None else cookie[1]
        return SyntaxError(f"encoding problem: {name.decode()}")
    if "(unicode error)" not in str(error):
        return error
    try:
        source.decode()
    except UnicodeDecodeError as exc:
        number, _ = _line_with(source, exc.start)
        message = NO_ENCODING.format(byte=source[exc.start], file=file, line=number)
        return SyntaxError(message)
    return error  # of an escape in a string


def _line_with(source: bytes, position: int) -> tuple[int, bytes]:
    """Return the number of a line, and what it holds up to a position."""
    return source.count(b"\n", 0, position) + 1, source[:position].rpartition(b"\n")[2]
