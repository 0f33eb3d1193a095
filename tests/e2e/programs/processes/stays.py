"""Calls that stay, and end in one way or the other when they are asked to stop."""

from __future__ import annotations

from asyncrun import safe_point, stop_token
from common import say
from processes.workload import hold, nap


def heed() -> None:
    safe_point()
    say("ready")
    try:
        stop_token().sleep(1000)
    finally:
        say("cleaned up")


def ignore() -> None:
    say("ready")
    nap()


def seize() -> None:
    say("ready")
    hold()
