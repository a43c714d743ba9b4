"""Replay one random history: `python -m tests.simulation.replay SEED`, as a failed test prints it.

`--only` names what of it happens, `--plain` the environments in which all is well. A history that fails is made shorter
first, unless `--as-it-is`; then it is told: what happened, the end of the journal, the failure.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.simulation.cases import HAPPENINGS, Case, failure, play, shrunk


def main(argv: Sequence[str]) -> int:
    """1 when it fails, 0 when it does not."""
    case, as_it_is = understood(argv)
    if not failure(case):
        print(f"{case.command}: no invariant is broken")  # noqa: T201 - it is a command
        return 0
    if not as_it_is:
        case = shrunk(case)
    print(case.command)  # noqa: T201
    try:
        play(case, tell=print)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        print(f"\n{type(error).__name__}: {error}")  # noqa: T201
    return 1


def understood(argv: Sequence[str]) -> tuple[Case, bool]:
    """The case that a command line stands for, and whether it is to stay as long as it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.replay", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--only", metavar="N,N", help="what of it happens, by number; `none` for nothing")
    parser.add_argument("--plain", metavar="NAME,NAME", default="", help="environments in which all is well")
    parser.add_argument("--as-it-is", action="store_true", help="do not make it shorter")
    options = parser.parse_args(argv)
    kept = tuple(range(HAPPENINGS))
    if options.only is not None:
        kept = () if options.only == "none" else tuple(map(int, options.only.split(",")))
    return Case(options.seed, kept, frozenset(filter(None, options.plain.split(",")))), options.as_it_is


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
