"""`python -m mpipipe`: see mpipipe.cli."""

import sys

from mpipipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
