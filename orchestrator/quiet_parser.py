"""argparse that says no by an exception: ComfyUI reads its command line with argparse, so we do, but nobody is to see that."""

import argparse
from typing import NoReturn


class UnparsableError(Exception):
    """ComfyUI will refuse these arguments; the text is argparse's."""


class QuietParser(argparse.ArgumentParser):
    """Raises where argparse would print and exit: `exit_on_error=False` alone does not cover every way out."""

    def error(self, message: str) -> NoReturn:
        """Raise UnparsableError."""
        raise UnparsableError(message)
