"""How a simulated history ends in which something was the case that must never be."""


class BrokenInvariantError(AssertionError):
    """Something that must never be the case was the case."""


def must(condition: object, message: str, *facts: object) -> None:
    """Raise BrokenInvariantError unless `condition` holds; `facts` fill the message, only then."""
    if not condition:
        raise BrokenInvariantError(message.format(*facts))
