"""The command line of the launcher, and the life of a program under it.

Rule of this module: options come before the program, and everything after it is the program's.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Final, NoReturn

from . import interrupts, target
from .installed.install import install
from .installed.options import options as installed_options

if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTION: Final = """\
Run a Python program in which every task can be stopped: Ctrl-C ends it at once, whatever its
threads and worker processes are stuck in. Options come before the program."""

EXIT_TIMEOUT: Final = 10.0
"""Seconds that a program may take to exit, once a KeyboardInterrupt has come out of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a program as ``python`` does.

    Args:
        arguments: The command line; that of the process by default.

    Raises:
        SystemExit: The program has ended in this way, or with an error; or the command line is not
            one.
    """
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    program = options.module or options.program
    installed_options.grace, installed_options.only = options.grace, options.only
    installed_options.watches = True
    install()
    interrupts.take_over(reports=options.report, exit_timeout=options.exit_timeout)
    interrupts.run_program(lambda: target.prepare(program, is_module=bool(options.module)))


def console() -> None:
    """Run `main` as the console script, whose folder Python has put into ``sys.path``."""
    if not sys.flags.safe_path:
        del sys.path[0]
    main()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        parser.error(f"unknown option {unknown[0]}")
    if options.module == []:
        parser.error("Argument expected for the -m option")
    if not (options.module or options.program):
        parser.error("a script, a directory, a zip file, -m with a module, or - is required")
    return options


def _make_parser() -> _Parser:
    parser = _Parser(
        prog="asyncrun",
        usage="%(prog)s [option ...] (-m module | script | directory | zip file | -) [arg ...]",
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--exit-timeout",
        type=seconds,
        default=EXIT_TIMEOUT,
        metavar="SECONDS",
        help="print all stacks and end the process, if it is still there so long after a "
        "KeyboardInterrupt has come out of the program (default: %(default)g)",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="how long the end waits for calls that look whether they are to stop "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="print a line for each call that is left running, and at Ctrl-\\ for each that runs "
        "(default: yes)",
    )
    parser.add_argument(
        "--only",
        choices=("threads", "processes"),
        help="put only these executors in place of the standard library's",
    )
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="run a module")
    parser.add_argument("program", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print what is wrong, and how to get help."""
        self.exit(
            2, f"{message}\n{self.format_usage()}Try `{self.prog} -h' for more information.\n"
        )


def seconds(text: str) -> float:
    """Return the number of seconds that an option has."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"seconds must be 0 or more, was {text}")
    return number
