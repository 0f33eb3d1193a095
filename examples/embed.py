"""A web service with a `Runner` inside: a stuck call costs its request a 504, and no more.

The runner lives as long as the application: its lifespan enters and leaves it. Run the service::

    uv run examples/embed.py --port 8000
    uv run uvicorn --app-dir examples embed:app

and ask it::

    curl -i http://127.0.0.1:8000/report/0      # 200, at once
    curl -i http://127.0.0.1:8000/report/60     # 504, after a second
    curl -i -X POST http://127.0.0.1:8000/job/60    # 202, at once: it goes on in the background

A call that is abandoned keeps its thread, and its slot of the runner, until it ends by itself. It
does not hold up the server's shutdown: on Ctrl-C or SIGTERM uvicorn lets requests finish, leaves
the lifespan and ends as it always does, and the runner logs what it leaves behind. For jobs in the
background the runner waits ``DRAIN_TIMEOUT`` seconds. An embedded runner touches no signal handler.

An error of a call that was given to `Runner.submit` ends the runner, and then every later request
gets an error from a consumer that lives on. So a job catches its errors itself, and logs them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import time
from typing import TYPE_CHECKING, TypedDict

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asyncrun import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

PATIENCE = 1.0
"""Seconds after which a request is given up."""

DRAIN_TIMEOUT = 2.0
"""Seconds that the server's shutdown waits for jobs in the background."""

logger = logging.getLogger("uvicorn.error")


class State(TypedDict):
    """What the lifespan hands to each request."""

    runner: Runner


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[State, None]:
    """Hold the runner while the application runs.

    Yields:
        What becomes ``request.state``.
    """
    async with Runner(max_threads=20, name="reports", drain_timeout=DRAIN_TIMEOUT) as runner:
        yield {"runner": runner}


def make_report(seconds: int) -> str:
    """Stand for a driver that takes its time, and cannot be interrupted."""
    logger.info("making a report of %d s", seconds)
    time.sleep(seconds)
    return f"It took {seconds} s.\n"


async def report(request: Request) -> Response:
    """Answer with the report, or with 504 if it takes too long.

    On cancel: as on a timeout, the call is left behind and asked to stop.
    """
    runner: Runner = request.state.runner
    try:
        with anyio.fail_after(PATIENCE):
            text = await runner.run_sync(make_report, request.path_params["seconds"])
    except TimeoutError:
        return PlainTextResponse(f"No report within {PATIENCE:g} s.\n", status_code=504)
    return PlainTextResponse(text)


def job(seconds: int) -> None:
    """Make a report in the background; an error that came out of here would end the runner."""
    try:
        make_report(seconds)
    except Exception:
        logger.exception("the report of %d s failed", seconds)


async def start_job(request: Request) -> Response:  # noqa: ASYNC124
    """Start a job that goes on when its request is over; in the event loop's thread.

    On cancel: nothing is waited for here.
    """
    runner: Runner = request.state.runner
    runner.submit(job, request.path_params["seconds"])
    return PlainTextResponse("It is on its way.\n", status_code=202)


app = Starlette(
    routes=[
        Route("/report/{seconds:int}", report),
        Route("/job/{seconds:int}", start_job, methods=["POST"]),
    ],
    lifespan=lifespan,
)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve slow reports on the loopback interface.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    uvicorn.run(app, port=parser.parse_args().port)
