"""A timeout and Ctrl-C end a SQLite query that would run for hours.

The query looks at no flag, but SQLite has a way to interrupt it from another thread. So the call
says how it is to be woken, with ``stop_token().on_stop(connection.interrupt)``, and whoever stops
the call ends the query as well: here a timeout, or Ctrl-C::

    uv run examples/sqlite_interrupt.py
    uv run examples/sqlite_interrupt.py --timeout 60    # press Ctrl-C

Nothing is left running in either case: the query has ended, and its thread with it.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3

import anyio

import asyncrun
from asyncrun import safe_point, stop_token

ENDLESS = """
    WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter LIMIT 1000000000000)
    SELECT count(*) FROM counter
"""


def query(sql: str) -> list[tuple[object, ...]]:
    """Return the rows that a query on an empty database gives; can be stopped at any moment.

    Raises:
        Stopped: The call was asked to stop, and the query was interrupted.
    """
    # The connection belongs to this thread, but `interrupt` is called from the one that stops.
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        # An interrupt hits statements that run, and is forgotten when none does: one that comes
        # just before the query begins would be lost. It is kept as long as any statement of the
        # connection has rows left to give (https://www.sqlite.org/c3ref/interrupt.html).
        pending = connection.execute("VALUES (1), (2)")
        try:
            with contextlib.closing(pending), stop_token().on_stop(connection.interrupt):
                print("the query is running", flush=True)
                return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            if stop_token().is_set():
                print("the query was interrupted", flush=True)
            safe_point()  # raises Stopped, if this is why the query failed
            raise


async def main(seconds: float) -> None:
    """Give the query some seconds, and say what came of it."""
    runner = asyncrun.Runner()
    with anyio.move_on_after(seconds) as scope:
        async with runner:
            print("the answer:", await runner.run_sync(query, ENDLESS))
    # Leaving the runner has waited for the query to end, for at most its `grace`.
    if scope.cancelled_caught:
        print(f"no answer within {seconds:g} s")
    print("calls still running:", len(runner.calls()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="End an endless query by a timeout or Ctrl-C.")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds (default: 1)")
    asyncrun.run(main, parser.parse_args().timeout)
