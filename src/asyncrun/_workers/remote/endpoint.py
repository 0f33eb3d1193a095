"""What a call and an item loop know of a worker outside of this process."""

from __future__ import annotations

from typing import final


@final
class WorkerGone(Exception):  # noqa: N818 - so it is called
    """The process has ended.

    Args:
        returncode: How, as `subprocess.Popen.returncode` says it; None if it was ended here.
    """

    def __init__(self, returncode: int | None) -> None:
        super().__init__(returncode)
        self.returncode = returncode
