"""The options of what is put in place."""

from __future__ import annotations

from typing import Final, Literal, final


@final
class Options:
    """How things are put in place.

    Attributes:
        grace: Seconds that the end of an executor waits for calls that look whether they are to
            stop.
        only: What alone is put in place; None means everything.
        is_installed: Whether it is in place.
        watches: Whether signals are noted that the program handles (see `own_handlers`).
    """

    grace: float = 2.0
    only: Literal["threads", "processes"] | None = None
    is_installed: bool = False
    watches: bool = False


options: Final = Options()
"""Those of this process."""
