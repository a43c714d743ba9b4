"""What others wrote (names, errors, output) as text that cannot command a terminal. Standard library only."""

CUT = "…"


def escaped(text: str) -> str:
    """`text` on one line: what is not printable (colours, line ends, direction marks) as backslash escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, length: int) -> str:
    """`text` in at most `length` characters."""
    return text if len(text) <= length else text[: length - 1] + CUT
