"""How a ComfyUI ends that outlived its orchestrator: told exactly, and heeded as if nothing had happened."""

import os
import signal

import pytest

from journal.events import ProcessExited
from tests.helpers.waiting import until


def kill_the_orchestrator(live):
    """Its guard starts the next one, which adopts what runs."""
    dead = live.state().orchestrator
    os.kill(dead.pid, signal.SIGKILL)
    return live.until(
        lambda state: (
            state.orchestrator not in {None, dead}
            and all(process.owner == state.orchestrator for process in state.processes.values())
        )
    )


@pytest.mark.scenario("B-44")
@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("code", [42, 3])
def test_the_code_of_an_orphan_is_exact_and_it_is_started_again(workspace, code, kills):
    live = workspace(good=None)
    live.serve_kept("good")
    for _ in range(kills):
        kill_the_orchestrator(live)
    live.leave(code)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert live.of(ProcessExited)[0].code == code


@pytest.mark.scenario("B-44")
def test_an_orphan_that_asks_for_a_switch_gets_it(workspace):
    live = workspace(good=None, other=None)
    live.serve_kept("good")
    kill_the_orchestrator(live)
    live.request("other", "good")
    live.leave(43)
    live.until_over()
    state = live.until(lambda state: state.serving == "other")
    assert state.switches[-1].target == "other"
    assert live.of(ProcessExited)[0].code == 43


@pytest.mark.scenario("B-44")
def test_an_orphan_that_ends_ends_the_orchestrator_and_its_guard(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    kill_the_orchestrator(live)
    live.leave(0)
    assert guard.wait(20) == 0
    until(lambda: live.state().orchestrator is None)
    assert live.of(ProcessExited)[0].code == 0


@pytest.mark.scenario("B-44")
def test_the_code_of_what_left_while_there_was_no_orchestrator_is_exact(workspace):
    live = workspace(good=None)
    guard = live.serve_kept("good")
    guard.send_signal(signal.SIGSTOP)  # it starts nobody yet
    os.kill(live.state().orchestrator.pid, signal.SIGKILL)
    live.leave(42)
    guard.send_signal(signal.SIGCONT)
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert live.of(ProcessExited)[0].code == 42
