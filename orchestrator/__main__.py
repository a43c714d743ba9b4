"""`python -m orchestrator`: the commands, or `--workspace DIR --environment NAME --args ...` as a panel starts us."""

import sys

from orchestrator.cli import main

if __name__ == "__main__":
    sys.exit(main())
