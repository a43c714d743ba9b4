"""An orchestrator that is killed at an event of a switch: its guard starts the next one, and the switch ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.events import SwitchCompleted
from journal.identity import is_alive
from tests.helpers import dying_orchestrator
from tests.helpers.waiting import until

GOOD = ["process.spawned", "switch.completed"]


def start_dying(live, environment, order):
    command = [sys.executable, dying_orchestrator.__file__, "run", "--workspace", str(live.root)]
    command += ["--environment", environment, "--args", "--port", str(live.port)]
    root = str(Path(dying_orchestrator.__file__).parents[2])
    environ = {**os.environ, dying_orchestrator.DYING_AT: str(order), "PYTHONPATH": root}
    with (live.metadata / "orchestrator.log").open("ab") as log:
        live.orchestrators.append(subprocess.Popen(command, stdout=log, stderr=log, env=environ))
    return live.until(lambda state: state.serving == environment)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("event", GOOD)
def test_a_good_switch_ends_whatever_event_its_orchestrator_is_killed_at(workspace, tmp_path, event, moment):
    live = workspace(good=None, other=None)
    order = tmp_path / "dying"
    dying_orchestrator.give(order, "nothing", 1, "after")
    start_dying(live, "good", order)
    dead = live.state().orchestrator
    dying_orchestrator.give(order, event, 1, moment)
    live.switch("other")
    live.until(lambda state: state.serving == "other" and state.lock is None)
    until(lambda: not order.exists() and not is_alive(dead))
    live.until(lambda state: state.orchestrator not in {None, dead})
    assert len(live.of(SwitchCompleted)) == 1
    assert len(live.starts("other")) <= 2
    assert len(live.starts("good")) == 1
    assert live.ask("/stand_in/environ")
