"""What to do next, and doing it: the supervisor of one workspace."""

__version__ = "0.1.0"
