"""``python -m asyncrun``: see `asyncrun._program.launcher`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current directory: what lies there is not ours to import
    from asyncrun._program.launcher import main

    main()
