"""What the tools that make a page of docs/ from the code have in common: write it, or say that it is stale."""

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def write_or_check(argv: Sequence[str], target: Path, make: Callable[[], str], tool: str) -> int:
    """Write what `make` gives, or with --check compare it. 0: written or up to date; 1: found stale; 2: usage."""
    if set(argv) - {"--check"}:
        print(f"usage: {tool} [--check]", file=sys.stderr)
        return 2
    page = make()
    if "--check" not in argv:
        target.write_text(page, "utf-8")
        print(f"wrote {target}")
        return 0
    there = target.read_text("utf-8") if target.exists() else ""
    if there == page:
        return 0
    shown = f"docs/{target.name}"
    print("\n".join(difflib.unified_diff(there.splitlines(), page.splitlines(), shown, "made anew", lineterm="")))
    print(f"error: {shown} is stale\nhint: run `.venv/bin/python {tool}`", file=sys.stderr)
    return 1
