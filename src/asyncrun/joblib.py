# pyright: basic
"""Backends for joblib, and so for scikit-learn, whose tasks can be stopped.

::

    import asyncrun.joblib
    import joblib

    asyncrun.joblib.register()
    with joblib.parallel_config(backend="asyncrun"):
        search.fit(X, y)  # or any joblib.Parallel

It needs the extra ``asyncrun[joblib]``.
"""

from __future__ import annotations

__all__ = ("register",)


def register() -> None:
    """Make two backends known to joblib: ``"asyncrun"``, of processes, and ``"asyncrun-threads"``.

    They take the place of ``"loky"`` and ``"threading"``, and leave to joblib what is joblib's:
    ``n_jobs``, batches, the limits on inner threads, nested parallelism, and in processes the
    memory maps of large arrays. What they add:

    - Ctrl-C, an error of a task, or a time limit ends all other tasks of the same
      `joblib.Parallel`: each is asked to stop, and its process is ended if it does not listen. A
      thread that does not listen is abandoned, and holds up nothing.
    - `safe_point`, `stop_token` and `StopToken.on_stop` work in tasks.
    - No process outlives the program.

    Processes are kept for the next ``Parallel`` with as many jobs, for 300 seconds or
    ``idle_worker_timeout``.
    """
    from joblib import register_parallel_backend  # noqa: PLC0415 - an extra

    from ._executors.joblib_backends import ProcessBackend, ThreadBackend  # noqa: PLC0415

    register_parallel_backend("asyncrun", ProcessBackend)
    register_parallel_backend("asyncrun-threads", ThreadBackend)
