"""Put into place what can be stopped, for a whole program.

Rules of this module:

- What is not imported yet is changed when it is (see `hooks`): a program pays for what it uses.
- What is put in place stays in place.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
from typing import TYPE_CHECKING, Any

from .. import own_handlers
from . import children, offloading, threads
from .hooks import when_imported
from .options import options

if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Put everything in place that `options` allow, once."""
    if options.is_installed:
        return
    options.is_installed = True
    if options.only != "processes":
        _replace(concurrent.futures, threads.ThreadPoolExecutor)
        _replace(concurrent.futures.thread, threads.ThreadPoolExecutor)
        offloading.install()
    if options.only != "threads":
        when_imported("concurrent.futures.process", _replace_process_pool)
    children.install(install_in_child)


def install_in_child(grace: float, only: Any, watches: bool) -> None:  # noqa: FBT001
    """Put in place, in a new process, what its parent has in place."""
    options.grace, options.only, options.watches = grace, only, watches
    if watches:
        own_handlers.watch()
    install()


def _replace(module: Any, replacement: type) -> None:
    setattr(module, replacement.__name__, replacement)


def _replace_process_pool(module: ModuleType) -> None:
    from .processes import ProcessPoolExecutor  # noqa: PLC0415 - 30 ms, where it is used

    _replace(module, ProcessPoolExecutor)
    _replace(concurrent.futures, ProcessPoolExecutor)
