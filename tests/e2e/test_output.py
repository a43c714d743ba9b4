"""What ComfyUI prints: any bytes, any amount."""

import json
import os
import signal
import time

import pytest

from journal.events import HealthFailed, ProcessExited
from journal.identity import is_alive
from orchestrator.logs.capping import CAP_BYTES, FIRST_BYTES, was_cut
from orchestrator.logs.holes import allocated_bytes
from orchestrator.logs.rotation import LOG_BYTES
from orchestrator.logs.switch_log import MIRRORED_BYTES
from tests.helpers.bystanders import SteadyCaller
from tests.helpers.waiting import until

LINE_BYTES = 10_000_000
FLOOD = {"flood": 100_000_000, "flood_line_bytes": LINE_BYTES, "non_utf8": True}
MARGIN_BYTES = 1024 * 1024


def log_of(live, spawn):
    (path,) = (live.metadata / "logs").glob(f"*/{spawn}.log")
    return path


def main_log(live):
    return log_of(live, live.state().main)


def is_capped(path):
    return was_cut(path) and allocated_bytes(path.stat()) <= CAP_BYTES


@pytest.mark.scenario("B-20")
def test_a_comfyui_that_prints_anything_and_endlessly_serves_on_and_its_log_stays_under_the_cap(workspace):
    live = workspace(good=None)
    live.serve("good")
    log = main_log(live)
    beginning = log.read_bytes()
    with SteadyCaller(live.port) as caller:
        for _ in range(2):
            assert live.ask("/stand_in/print", FLOOD) == {"printed": FLOOD["flood"]}
            until(lambda: is_capped(log))
        asked = time.monotonic()
        status = live.cli("status", "--json")
        assert time.monotonic() - asked < 10
        assert json.loads(status.stdout)["serving"] == "good"
        until(lambda: caller.answers > 10)
    assert caller.failures == []
    assert not live.of(HealthFailed)
    assert not live.of(ProcessExited)
    assert log.stat().st_size > 2 * FLOOD["flood"]
    with log.open("rb") as file:
        assert file.read(len(beginning)) == beginning
    assert (live.metadata / "orchestrator.log").stat().st_size < LOG_BYTES


@pytest.mark.scenario("B-20")
def test_a_target_that_floods_at_its_start_becomes_healthy_and_the_switch_log_stays_small(workspace):
    live = workspace(good=None, loud={**FLOOD, "start_delay_s": 1.5})
    live.serve("good")
    state = live.switch("loud")
    assert state.serving == "loud"
    until(lambda: is_capped(main_log(live)))
    switch_log = live.metadata / "supervisor-switch.log"
    assert switch_log.stat().st_size < MIRRORED_BYTES + MARGIN_BYTES
    messages = [json.loads(line)["message"] for line in switch_log.read_text("ascii").splitlines()]
    assert any("caf\ufffd" in message for message in messages)
    assert max(map(len, messages)) <= 2_000
    assert "the switch is complete" in "".join(messages)


@pytest.mark.scenario("B-20")
def test_the_story_of_one_that_died_of_it_ends_with_text_that_can_be_read(workspace):
    loud = {**FLOOD, "die_at_start": 1, "die_message": "caf\u00e9 is closed"}
    live = workspace(good=None, loud=loud)
    live.serve("good")
    assert live.switch("loud").serving == "good"
    told = live.cli("explain", tool="journal")
    assert told.returncode == 0
    assert "caf\u00e9 is closed" in told.stdout
    assert all(character.isprintable() or character == "\n" for character in told.stdout)
    assert max(map(len, told.stdout.splitlines())) < 3_000
    died = live.of(ProcessExited)[-1]
    assert died.log_tail[-1] == "caf\u00e9 is closed"
    assert all(len(line) <= 2_000 for line in died.log_tail)
    until(lambda: is_capped(log_of(live, died.spawn)))  # once more after its end


@pytest.mark.scenario("B-20")
def test_what_was_printed_while_no_orchestrator_lived_is_cut_at_the_first_look_of_the_next(workspace):
    live = workspace(good=None)
    first = live.serve("good")
    log = main_log(live)
    orchestrator = live.state().orchestrator
    root = live.state().main_process.identity
    os.kill(first.pid, signal.SIGSTOP)  # where this is a guard, it starts no other one meanwhile
    os.kill(orchestrator.pid, signal.SIGKILL)
    live.ask("/stand_in/print", FLOOD)
    assert allocated_bytes(log.stat()) > CAP_BYTES
    os.kill(first.pid, signal.SIGCONT)
    if first.pid == orchestrator.pid:
        first.wait()
        live.start()
    until(lambda: is_capped(log))
    assert log.read_bytes()[: FIRST_BYTES // 2].startswith(b"Python version")
    live.until(lambda state: state.orchestrator != orchestrator and state.serving == "good")
    assert is_alive(root)
