"""The tools that the tests of surroundings run, and the Debian packages that have them.

Run as a program, it prints the packages of those that are missing; CI installs them.
"""

from __future__ import annotations

import shutil
import subprocess

PACKAGES = {
    "bash": "bash",
    "make": "make",
    "nohup": "coreutils",
    "parallel": "parallel",
    "setsid": "util-linux",
    "stty": "coreutils",
    "taskset": "util-linux",
    "timeout": "coreutils",
    "tmux": "tmux",
    "unshare": "util-linux",
    "watch": "procps",
    "xargs": "findutils",
}


def is_missing(tool: str) -> bool:
    """Check whether a tool of the table is missing."""
    if (path := shutil.which(tool)) is None:
        return True
    if tool != "parallel":
        return False
    # Another package, moreutils, has a program of this name.
    version = subprocess.run([path, "--version"], check=False, capture_output=True).stdout
    return not version.startswith(b"GNU parallel")


if __name__ == "__main__":
    print(*sorted({package for tool, package in PACKAGES.items() if is_missing(tool)}))
