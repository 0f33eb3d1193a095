"""Count primes on all cores: a job that keeps processes busy, and that Ctrl-C ends at once.

    uv run examples/crunch.py 20000000

The numbers are cut into segments, and each segment is a call in a worker process, where a thread
could use one core only. A progress line is kept on standard error. Ctrl-C ends the job: a call ends
at its next safe point, and its process with it; nothing is left behind, also if this program is
killed.
"""

from __future__ import annotations

import argparse
import math
from functools import cache
from typing import Final

from rich.console import Console
from rich.progress import Progress

import asyncrun
from asyncrun import safe_point

SEGMENT: Final = 500_000
"""Numbers in a segment: some milliseconds of work, and half a megabyte of memory."""


@cache  # once in each process
def small_primes(limit: int) -> list[int]:
    """Return the primes below ``limit``."""
    sieve = bytearray([1]) * limit
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(2, limit) if sieve[number]]


def count_primes(segment: range) -> int:
    """Count the primes in a segment, by the sieve of Eratosthenes."""
    start, stop = segment.start, segment.stop
    sieve = bytearray([1]) * (stop - start)
    for prime in small_primes(1 << math.isqrt(stop).bit_length()):  # the same for many segments
        if prime * prime >= stop:
            break
        safe_point()
        first = max(prime * prime, -(-start // prime) * prime)
        sieve[first - start :: prime] = bytes(len(range(first, stop, prime)))
    return sum(sieve)


async def main(limit: int) -> None:
    """Print how many primes there are below ``limit``."""
    segments = [range(n, min(n + SEGMENT, limit)) for n in range(2, limit, SEGMENT)]
    count = 0
    async with (
        asyncrun.Runner() as runner,
        runner.map(count_primes, segments, worker="process", ordered=False) as results,
    ):
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("segments", total=results.total)
            async for primes in results:
                count += primes
                progress.update(bar, completed=results.done)
    print(f"{count} primes below {limit}")


def natural(text: str) -> int:
    """Read a number of at least 0."""
    if (number := int(text)) < 0:
        raise ValueError
    return number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Count the primes below a number.")
    parser.add_argument("limit", type=natural, nargs="?", default=20_000_000, metavar="N")
    asyncrun.run(main, parser.parse_args().limit)
