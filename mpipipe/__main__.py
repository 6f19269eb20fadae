"""`python -m mpipipe`: see mpipipe.cli."""

import sys

from mpipipe.launcher import choose_kernel

if __name__ == "__main__":
    choose_kernel()  # before anything loads numpy
    from mpipipe.cli import main

    sys.exit(main())
