"""End by SIGTERM in the background of a terminal whose echo is off."""

from __future__ import annotations

import os
import signal
import termios
import time

import asyncrun
import asyncrun._system.process_exit


async def main() -> None:
    async with asyncrun.Runner() as runner:
        runner.submit(time.sleep, 60)
        modes = termios.tcgetattr(0)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, modes)
        # The session's leader stays in the foreground; the program changes its own group.
        pid = os.fork()
        if pid:
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -signal.SIGTERM)
        os.setpgid(0, 0)
        asyncrun._system.process_exit.exit_by_signal(signal.SIGTERM, list)


asyncrun.run(main)
