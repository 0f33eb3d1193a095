"""The entry point `run`.

Rule of this module (rules 13 to 17): `signals` takes the signals over, `watchdog` enforces
``exit_timeout``, and `excepthook` prints the last lines and ends the process by its signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from .._core.checks import check_async, check_outside, check_timeout
from .._core.registry import is_busy
from .._system.terminal import note_modes
from .excepthook import make_interrupted
from .signals import SignalHandlers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")

T = TypeVar("T")


def run(
    main: Callable[[*ArgsT], Coroutine[Any, Any, T]],
    *args: *ArgsT,
    backend: str = "asyncio",
    backend_options: Mapping[str, Any] | None = None,
    exit_timeout: float | None = None,
) -> T:
    """Run an async program, and end it well on Ctrl-C.

    It is `anyio.run` with these additions. The first SIGINT, SIGTERM or SIGHUP (or Ctrl-Break, on
    Windows) cancels main at once; when it has unwound, `Interrupted` is raised here. Left
    uncaught, that prints one line and a line for each call left running, runs the ``atexit``
    handlers, flushes the standard streams, and ends the process by that same signal. A second
    signal ends the process at once; a SIGTERM or SIGHUP that repeats one within a second does not.

    Signals that are ignored (``nohup``) or that the program handles itself are left alone; so are
    all signals where `run` is not called in the main thread. A forked child has the handlers that
    it would have without `run`.

    The process dies without finalization: a file that no ``with`` block closes loses what is in its
    buffer. As PID 1 of a container, where the kernel ignores the signal, it exits with 128 + the
    signal's number. Terminal modes that an abandoned `getpass.getpass` has changed are put back.
    In an interactive interpreter `run` prints the same lines, and the prompt comes back.

    Args:
        main: An async function.
        *args: Its positional arguments.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: As for `anyio.run`; ``{"use_uvloop": True}``, say.
        exit_timeout: If the process is still there so many seconds (above 0) after the first
            signal, even if it has caught `Interrupted`, every thread's stack is printed and the
            process ends by the signal. None waits without limit.

    Returns:
        What main returns.

    Raises:
        Interrupted: After a signal (a `KeyboardInterrupt`).
        RuntimeError: An event loop runs in this thread already.
        TypeError: ``main`` is not an async function.
        ValueError: ``exit_timeout`` is not above 0.
    """
    check_outside(main)
    check_timeout("exit_timeout", exit_timeout)
    check_async("run()", main)
    note_modes(anew=not is_busy())
    signals = SignalHandlers(exit_timeout)
    options = None if backend_options is None else dict(backend_options)
    try:
        with signals:
            result = anyio.run(
                signals.run_main, main, args, backend=backend, backend_options=options
            )
    except BaseException as exc:
        if signals.signum is None:
            raise
        raise make_interrupted(signals.signum) from exc  # noqa: ASYNC104 - the loop has ended
    if signals.signum is not None:
        raise make_interrupted(signals.signum)
    return result
