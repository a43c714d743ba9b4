"""What a command can fail with, and how it is said."""

from collections.abc import Iterator

from comfygit_journal.escaping import escaped


class CommandError(Exception):
    """What was asked for cannot be had. Exit status 1."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint


class UsageError(CommandError):
    """It was asked for in the wrong way. Exit status 2."""

    exit_code = 2


def error_lines(message: str, hint: str) -> Iterator[str]:
    """What goes to stderr."""
    yield f"error: {escaped(message)}"
    if hint:
        yield f"hint: {escaped(hint)}"
