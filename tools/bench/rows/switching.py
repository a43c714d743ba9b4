"""A cold switch: how long nobody answers, beyond the old one's end and the target's start; when its end is told."""

import json
import sys
import time
from collections.abc import Iterator

from bench.figures import Budget, Row, Sample
from bench.ours import Ours
from bench.rows.respawn import FLOOR_LOOP
from bench.service import make_service
from bench.session import Session
from bench.waiting import until
from orchestrator.asking import ask_switch, command_ask
from projections.views import STATUS

OUTAGE_MS = 100.0
TOLD_MS = 50.0
LOOK_S = 0.001


def measure(session: Session) -> Iterator[Row]:
    """Two rows, of the same switches."""
    outages, told = [], []
    with Ours(session, environments=("a", "b")) as ours:
        for number in range(session.n(30)):
            ours.until_calm()
            outage_ms, told_ms = _switch(ours, "ab"[number % 2], "ba"[number % 2])
            outages.append(outage_ms)
            told.append(told_ms)
    floor = _python_start(session)
    beyond = tuple(outage_ms - floor.p50 for outage_ms in outages)
    yield Row(
        "outage",
        "cold switch: nobody answers, beyond the old one's end and the target's start",
        "ms",
        Sample("ours", beyond),
        budget=Budget(OUTAGE_MS),
        notes=(f"from the old one's last stamp to the new one's first, less {floor.p50:.1f} ms of Python's start",),
    )
    yield Row(
        "told",
        "third success answered to `complete` in the status file",
        "ms",
        Sample("ours", tuple(told)),
        budget=Budget(TOLD_MS),
    )


def _switch(ours: Ours, source: str, target: str) -> tuple[float, float]:
    """From the old one's end to the new one's first stamp; from the last answer before `complete` to who reads that."""
    lives = ours.service(target).count("ready")
    path, seen = ours.metadata / STATUS, ours.look().seq
    with ours.ledger() as ledger:
        answer = ask_switch(ledger, command_ask(ledger.workspace, target))
    if answer.refused is not None:
        raise RuntimeError(answer.refused)
    while json.loads(path.read_bytes() if path.exists() else b"{}").get("state") != "complete":
        time.sleep(LOOK_S)
    read_ns = time.monotonic_ns()
    ours.until(lambda state: state.seq > seen and state.serving == target, f"{target} serves")
    ours.service(target).ready(lives + 1)
    new, old = ours.service(target).stamps(), ours.service(source).stamps()
    ended_ns = next(stamp.at_ns for stamp in reversed(old) if stamp.what == "exit")
    began_ns = next(stamp.at_ns for stamp in reversed(new) if stamp.what == "start")
    answered_ns = next(stamp.at_ns for stamp in reversed(new) if stamp.what == "answer" and stamp.at_ns < read_ns)
    return (began_ns - ended_ns) / 1e6, (read_ns - answered_ns) / 1e6


def _python_start(session: Session) -> Sample:
    """From an end to the next first stamp where nothing is in between."""
    service = make_service(session.fresh("bare") / "s", session.python)
    session.popen([sys.executable, str(FLOOR_LOOP), "-", *service.command])
    for life in range(1, session.n(30) + 1):
        service.ready(life)
        service.ask_restart()
    until(lambda: len(service.respawns_ms()) >= session.n(30), "the last start")
    return Sample("`Popen; wait`", tuple(service.respawns_ms()))
