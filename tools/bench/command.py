"""What `tools/bench/run` does: measure the rows, print the table, write the JSON, put the table into the README."""

import argparse
import importlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine, report
from bench.figures import Row
from bench.peers.base import Peer
from bench.peers.install import install_all
from bench.session import HOME, ROOT, Missing, Session

ROWS = {
    "respawn": "exit 42 to the new child running",
    "switching": "outage of a cold switch; its end told",
    "idle": "CPU, wake-ups and memory while nothing happens",
    "adoption": "the supervisor is killed",
    "stopping": "whole trees stopped: what lives on",
    "locking": "the switch lock: a dead holder, 64 at once",
    "appending": "a durable append",
    "folding": "a long journal folded and verified",
    "asking": "commands, status over HTTP, a second orchestrator, the end of a long log",
}
"""Module in `rows/`: what it measures."""
README = ROOT / "README.md"
BEGIN, END = "<!-- figures: made by tools/bench/run --readme -->", "<!-- figures: end -->"


def main(argv: Sequence[str]) -> int:
    """0: measured; 1: a row failed; 130: interrupted. A budget that is missed is no failure: the table says so."""
    wish = _parser().parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return _measure(wish)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; all that was started has been ended\n")
        return 130


def _measure(wish: argparse.Namespace) -> int:
    peers, missing = _no_peers() if wish.no_peers else install_all(lambda text: sys.stderr.write(text + "\n"))
    with Session(peers, missing, quick=wish.quick) as session:
        facts = machine.facts(session.folder) | {"peers": {peer.name: peer.version() for peer in peers}}
        facts["quick"] = wish.quick
        rows, failed = _rows(session, wish.rows or list(ROWS))
    print(report.machine_line(facts), report.as_text(rows), sep="\n\n")
    if wish.json is not None:
        wish.json.write_text(json.dumps(report.as_document(rows, facts), indent=1) + "\n", "utf-8")
    if wish.readme:
        write_readme(README, report.as_markdown(rows, facts))
    return int(failed)


def _no_peers() -> tuple[list[Peer], list[Missing]]:
    return [], []


def _rows(session: Session, names: Sequence[str]) -> tuple[list[Row], bool]:
    """Measure them in turn; whether one failed. What a row leaves running is ended before the next."""
    found: list[Row] = []
    failed = False
    for name in names:
        began = time.monotonic()
        session.say(f"{name}: {ROWS[name]} ...")
        try:
            found += importlib.import_module(f"bench.rows.{name}").measure(session)
        except Exception as error:  # noqa: BLE001 - the other rows are worth having
            failed = True
            session.say(f"{name}: FAILED: {type(error).__name__}: {error}")
        session.end_all()
        session.say(f"{name}: {time.monotonic() - began:.0f} s")
    return found, failed


def write_readme(path: Path, text: str) -> None:
    """Replace what stands between the marks. Raises ValueError when there are none."""
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        message = f"{path}: no place for the figures: {BEGIN} ... {END}"
        raise ValueError(message)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:<12}{what}" for name, what in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="tools/bench/run",
        description="Measures this repo and its real peers on this machine, and prints one table. Progress goes to stderr.",
        epilog=f"rows:\n{rows}\n\nWhat it installs is in {HOME.name}/, which may be deleted at any time.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", choices=[*ROWS, []], help="only these; all of them by default"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, versions and raw figures")
    parser.add_argument("--readme", action="store_true", help="put the table into the README")
    parser.add_argument("--quick", action="store_true", help="a few samples of each, to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="only ours and the floors; installs nothing")
    return parser
