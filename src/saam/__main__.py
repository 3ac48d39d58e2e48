"""``python -m saam``: the command line, also for ``torchrun -m saam train``."""

import sys

from saam.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
