"""`python -m comfygit_journal`."""

import sys

from comfygit_journal.cli import main

if __name__ == "__main__":
    sys.exit(main())
