"""The table of surroundings: what is expected of a program, and of each tool that runs it.

PROGRAM is the start of `stuck.py`: two threads of it are stuck, and a worker process that has
started a process of its own. In each row these hold, and the tests check them:

- The program runs its ``finally`` blocks and its exit handlers, unless SIGKILL ends it.
- It says on standard error which signal has interrupted it, and which calls it leaves running.
- Neither the program nor its worker nor the worker's child lives on.
- The modes of the terminal are what they were, if there is a terminal.

`CASES` have pipes, and get one signal. `SCENES` have a terminal, and get keys. CONTRIBUTING.md has
the summary; a test compares the two.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
KILL, ALRM = signal.SIGKILL, signal.SIGALRM


@dataclass(frozen=True, slots=True)
class Case:
    """A tool without a terminal, and the signal that is sent to it or to the programs.

    Attributes:
        tool: Its name in the summary.
        command: How it is called.
        event: What happens, in words.
        to: Who gets the signal: the ``tool``, its ``group``, or the ``programs``.
        signum: That signal.
        ends_by: The signal that ends the programs.
        status: The status of the tool; minus a signal's number if it dies by that signal.
        names: The names of the programs.
        prints: The line that the tool adds to standard output, if any.
        complains: A pattern of what the tool adds to standard error.
        shows: Whether the tool shows what the programs print.
        quiet: Whether the programs say their last words and no more: another party does not kill
            their workers, too.
    """

    tool: str
    command: str
    event: str
    to: str
    signum: signal.Signals
    ends_by: signal.Signals
    status: int
    names: tuple[str, ...] = ("one",)
    prints: str = ""
    complains: str = ""
    shows: bool = True
    quiet: bool = True


@dataclass(frozen=True, slots=True)
class Scene:
    """A command line in a terminal, and what a person does there.

    Attributes:
        tool: Its name in the summary.
        line: The command line, for an interactive bash; OUT is a file.
        steps: What the person does: a key, a command, a closed window, or a signal.
        ends_by: The signal that ends the programs.
        status: The status that bash sees, or None if bash is gone by then.
        names: The names of the programs.
        shows: Whether the terminal, or the file, shows what the programs print.
    """

    tool: str
    line: str
    steps: tuple[str, ...]
    ends_by: signal.Signals
    status: int | None
    names: tuple[str, ...] = ("one",)
    shows: bool = True


TWO = ("one", "two")
UP = "its time is up"  # The kernel tells `timeout` so by SIGALRM, and so do the tests.
PID_1 = "unshare --map-root-user --pid --fork --mount-proc"
PARALLEL = "parallel --will-cite -j 2 PROGRAM ::: one two"
MAKE = "make -j 2 -f MAKEFILE 'START=PROGRAM'"
XARGS = "xargs -a NAMES -P 2 -n 1 PROGRAM"
MADE = r"(make: \*\*\* .*\n)+"
TO_PROGRAMS = "SIGTERM to the programs"
BLOCKED = "its loop is blocked until SIGKILL"
AFTER = "bash -c 'PROGRAM one; echo after'"
# An interactive bash would put the modes back itself, so they are noted before it gets to it.
TRAP = "sh -c 'trap : INT; PROGRAM one getpass; seen=$?; stty -g >OUT; exit $seen'"
CLOSED = "its window is closed"
FGS = ("Ctrl-Z", "fg", "Ctrl-C")

CASES = [
    Case("timeout", "timeout 100 PROGRAM one", UP, "tool", ALRM, TERM, 124),
    Case("timeout", "taskset -c 0 timeout 100 PROGRAM one", UP, "tool", ALRM, TERM, 124),
    Case("timeout", "timeout -s INT 100 PROGRAM one", UP, "tool", ALRM, INT, 124),
    Case("timeout", "timeout -s HUP 100 PROGRAM one", UP, "tool", ALRM, HUP, 124),
    Case("timeout", "timeout --foreground 100 PROGRAM one", UP, "tool", ALRM, TERM, 124),
    Case("timeout", "timeout -k 50 100 PROGRAM one", UP, "tool", ALRM, TERM, 124),
    Case(
        "timeout -k", "timeout -k 0.2 100 PROGRAM one blocked", BLOCKED, "tool", ALRM, KILL, -KILL
    ),
    Case("timeout", "timeout 100 PROGRAM one", "SIGTERM to it", "tool", TERM, TERM, -TERM),
    Case("nohup", "nohup PROGRAM one", "SIGTERM", "programs", TERM, TERM, -TERM),
    Case("setsid", "setsid PROGRAM one", "SIGTERM", "programs", TERM, TERM, -TERM),
    Case("xargs -P", XARGS, "SIGINT to the group", "group", INT, INT, -INT, TWO),
    Case(
        "xargs -P", XARGS, TO_PROGRAMS, "programs", TERM, TERM, 125, TWO, complains=r"xargs: .*\n"
    ),
    Case("make -j", MAKE, "SIGTERM to it", "tool", TERM, TERM, -TERM, TWO, complains=MADE),
    Case("make -j", MAKE, TO_PROGRAMS, "programs", TERM, TERM, 2, TWO, complains=MADE),
    Case("GNU parallel", PARALLEL, "SIGTERM to it", "tool", TERM, TERM, 255, TWO, shows=False),
    Case("GNU parallel", PARALLEL, TO_PROGRAMS, "programs", TERM, TERM, 2, TWO),
    Case("PID 1", f"{PID_1} PROGRAM one", "SIGTERM", "programs", TERM, TERM, 128 + TERM),
    Case("PID 1", f"{PID_1} PROGRAM one", "SIGINT", "programs", INT, INT, 128 + INT),
    Case("PID 1", f"{PID_1} PROGRAM one", "SIGHUP", "programs", HUP, HUP, 128 + HUP),
    Case(
        "a shell as PID 1",
        f"{PID_1} sh -c 'PROGRAM one; exit $?'",
        "SIGTERM to the program",
        "programs",
        TERM,
        TERM,
        128 + TERM,
        complains=r"(.*Terminated\n)?",
    ),
    *(
        Case(
            "a supervisor",
            f"SUPERVISOR {mode} 20 PROGRAM one",
            "SIGTERM",
            "tool",
            TERM,
            TERM,
            128 + TERM,
            prints="in time",
            quiet=mode != "control-group",
        )
        for mode in ("process", "mixed", "control-group")
    ),
    *(
        Case(
            "a supervisor",
            f"SUPERVISOR {mode} 0.2 PROGRAM one blocked",
            BLOCKED,
            "tool",
            TERM,
            KILL,
            128 + KILL,
            prints="killed",
        )
        for mode in ("process", "mixed", "control-group")
    ),
]

SCENES = [
    Scene("a terminal", "PROGRAM one", ("Ctrl-C",), INT, 130),
    Scene("a terminal", "PROGRAM one", FGS, INT, 130),
    Scene("a terminal", "PROGRAM one getpass", FGS, INT, 130),
    Scene("a terminal", "PROGRAM one >OUT 2>&1", (CLOSED,), HUP, None),
    Scene("a terminal", "PROGRAM one >OUT 2>&1", ("Ctrl-Z", CLOSED), HUP, None),
    Scene("bash -c", AFTER, ("Ctrl-C",), INT, 130),
    Scene("bash -c", AFTER, FGS, INT, 130),
    Scene("bash -c", AFTER, (CLOSED,), HUP, None, shows=False),
    Scene("sh with a trap", TRAP, ("Ctrl-C",), INT, 130, shows=False),
    Scene("make -j", MAKE, ("Ctrl-C",), INT, 130, TWO),
    Scene("make -j", MAKE, FGS, INT, 130, TWO),
    Scene("make -j", MAKE, (CLOSED,), HUP, None, TWO, shows=False),
    Scene("watch", "watch -n 1 PROGRAM one", ("Ctrl-C",), INT, 0, shows=False),
    Scene("watch", "watch -n 1 PROGRAM one", (CLOSED,), HUP, None, shows=False),
    Scene("timeout", "timeout 100 PROGRAM one", ("Ctrl-C",), INT, 130),
    Scene("timeout", "timeout --foreground 100 PROGRAM one", ("Ctrl-C",), INT, 130),
    Scene("GNU parallel", PARALLEL, ("Ctrl-C",), TERM, 255, TWO, shows=False),
    Scene("nohup", "nohup PROGRAM one >OUT 2>&1 &", (CLOSED, "SIGTERM"), TERM, None),
    Scene("setsid", "setsid PROGRAM one >OUT 2>&1 &", (CLOSED, "SIGTERM"), TERM, None),
]


def summary() -> str:
    """Return the summary of the table, a line for each tool, in Markdown."""
    lines: dict[str, list[str]] = {}
    rows: list[Case | Scene] = [*CASES, *SCENES]
    for row in rows:
        event = row.event if isinstance(row, Case) else ", then ".join(row.steps)
        words = f"{event}: {seen(row)}"
        if words not in lines.setdefault(row.tool, []):
            lines[row.tool].append(words)
    return "".join(f"| {tool} | {'; '.join(words)} |\n" for tool, words in lines.items())


def seen(row: Case | Scene) -> str:
    """Return the status that the tool, or the shell that has run it, sees."""
    if row.status is None:
        return row.ends_by.name
    return str(row.status) if row.status >= 0 else signal.Signals(-row.status).name
