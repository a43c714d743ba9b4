"""Whatever ComfyUI started, and however that hides: it is gone when ComfyUI is."""

import os
import signal

import pytest

from journal.clock import S, elapsed_ns
from journal.events import ProcessExited, ProcessSignalled, ProcessStopAsked
from journal.identity import identify, is_alive
from tests.helpers.hiding import HIDE, HIDE_WELL, may_make_groups
from tests.helpers.waiting import until

NODE = """
import subprocess, sys
with open({file!r}, "ab") as _pids:
    subprocess.run([sys.executable, "-I", "-S", "-c", {script!r}], stdout=_pids)
"""
"""A custom node that starts those that hide, on its import."""


def plant(live, name, script):
    """Have the next start of that environment hide grandchildren; gives how to get them, once all are there."""
    file = live.comfyui(name) / "planted"
    node = live.comfyui(name) / "custom_nodes" / "hiding.py"
    node.write_text(NODE.format(script=script, file=str(file)))
    count = 4 if HIDE_WELL in script else 3

    def planted():
        until(lambda: file.exists() and file.read_text().count("\n") == count)
        found = [identify(int(line)) for line in file.read_text().split()]
        assert None not in found
        return found

    return planted


@pytest.mark.scenario("B-13")
def test_one_that_ignores_sigterm_is_gone_after_the_deadline_and_so_are_its_grandchildren(workspace):
    """They ignore it too, and all but one have left its session, its environment or both parents."""
    live = workspace(deaf={"ignore_sigint": True, "ignore_sigterm": True}, good=None)
    live.configure(stop_timeout_s=0.5)
    planted = plant(live, "deaf", HIDE)
    live.serve("deaf")
    hidden = planted()
    root = live.state().main_process.identity
    assert live.switch("good").serving == "good"
    assert not any(map(is_alive, [root, *hidden]))
    (asked,), exited = live.recorded(ProcessStopAsked), live.recorded(ProcessExited)[0]
    assert [event.signal for event in live.of(ProcessSignalled)] == ["SIGINT", "SIGTERM", "SIGKILL"]
    assert exited.event.signal == "SIGKILL"
    assert elapsed_ns(asked.at, exited.at) < 7 * S  # 0.5 s for itself, 5 s after SIGTERM, and a busy machine


@pytest.mark.scenario("B-30")
@pytest.mark.parametrize("leaves_by_itself", [False, True])
def test_nobody_survives_a_comfyui_that_is_stopped_or_leaves(workspace, leaves_by_itself):
    live = workspace(good=None)
    planted = plant(live, "good", HIDE_WELL if may_make_groups() else HIDE)
    process = live.serve("good")
    hidden = planted()
    if leaves_by_itself:
        live.leave(0)
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert not any(map(is_alive, hidden))


@pytest.mark.scenario("B-30")
@pytest.mark.skipif(not may_make_groups(), reason="no cgroup may be made here; what needs none is tested above")
def test_nobody_survives_a_comfyui_whose_orchestrator_was_killed_in_between(workspace):
    live = workspace(good=None)
    planted = plant(live, "good", HIDE_WELL)
    first = live.serve("good")
    hidden = planted()
    orchestrator = live.state().orchestrator
    root = live.state().main_process.identity
    os.kill(orchestrator.pid, signal.SIGKILL)
    os.kill(root.pid, signal.SIGKILL)
    until(lambda: not is_alive(orchestrator) and not is_alive(root))
    if first.poll() is not None:  # there is no guard that starts it again
        live.start()
    live.until(lambda state: len(live.of(ProcessExited)) == 1)
    assert not any(map(is_alive, hidden))
