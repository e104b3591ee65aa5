"""`python -m dlworkflow` is `dlw`."""

import os
import sys

if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib would be looked for there, too
    del sys.path[0]  # `python -m` puts the working folder first: a file `random.py` there is none of our modules

from dlworkflow.cli.app import main

if __name__ == "__main__":
    main()
