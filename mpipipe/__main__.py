"""`python -m mpipipe`: see mpipipe.cli."""

import sys

from mpipipe.first import keep_signals

if __name__ == "__main__":
    keep_signals()  # before all that is large is loaded
    from mpipipe.cli import main

    sys.exit(main())
