"""A switch that gets where it should: asked by file while the old one serves, by its leaving with 43, by command."""

import pytest

from journal.events import (
    ExitCause,
    GenerationRecorded,
    LockAcquired,
    LockReleased,
    OrchestratorStarted,
    Origin,
    ProcessExited,
    ProcessSpawned,
    ProcessStopAsked,
    SwitchCompleted,
    SwitchRequested,
)
from journal.identity import is_alive
from tests.helpers.bystanders import StatusReader


def ended_files(live):
    """The names of those files that must be gone once a switch has ended, and are not."""
    return [name for name in (".switch.lock", ".switch_request.json") if (live.metadata / name).exists()]


@pytest.mark.scenario("OL-04")
def test_an_exit_with_43_and_a_request_on_disk_is_a_switch_whose_stages_a_reader_sees_in_order(workspace):
    live = workspace(good=None, other={"start_delay_s": 0.3})
    live.serve("good")
    with StatusReader(live) as reader:
        live.request("other", "good")
        live.leave(43)
        assert live.until_over().serving == "other"
        live.shown("complete")
    assert not ended_files(live)
    assert [event.cause for event in live.of(ProcessExited)] == [ExitCause.SWITCH]
    assert not live.of(ProcessStopAsked)
    assert live.of(SwitchRequested)[0].origin is Origin.FILE
    assert live.ask("/stand_in/environ")["cwd"] == str(live.comfyui("other"))
    stages = list(dict.fromkeys(document["state"] for document in reader.seen))
    order = ["preparing", "syncing", "starting", "validating", "complete"]
    assert stages == [stage for stage in order if stage in stages]
    assert {"starting", "validating"} < set(stages)
    progress = [document["progress"] for document in reader.seen]
    assert progress == sorted(progress)
    assert all(document["target_env"] == "other" for document in reader.seen)


def test_a_switch_by_command_stops_the_old_one_before_it_starts_the_target_and_says_so(workspace):
    live = workspace(good=None, other=None)
    live.serve("good")
    done = live.cli("switch", "other", "--wait")
    assert done.returncode == 0
    assert "other serves" in done.stdout
    first, second = live.of(ProcessSpawned)
    assert not is_alive(first.identity)
    assert is_alive(second.identity)
    assert live.of(ProcessStopAsked)[0].why == "room for other"
    assert live.of(ProcessExited)[0].cause is ExitCause.STOPPED
    assert [event.environment for event in live.of(GenerationRecorded)] == ["good", "other"]
    live.shown("complete")
    assert not ended_files(live)
    names = live.names()
    gone, second_start = names.index("process.exited"), len(names) - 1 - names[::-1].index("process.intended")
    assert gone < second_start
    requested, acquired = live.recorded(SwitchRequested)[0], live.recorded(LockAcquired)[0]
    completed, released = live.recorded(SwitchCompleted)[0], live.recorded(LockReleased)[0]
    assert (acquired.seq, acquired.switch) == (requested.seq + 1, requested.seq)
    assert (released.seq, released.switch) == (completed.seq + 1, requested.seq)


def test_with_no_orchestrator_alive_a_switch_starts_one_that_goes_on_with_the_arguments_of_the_last(workspace):
    live = workspace(good=None, other=None)
    process = live.serve("good", "--cpu")
    assert live.stop(process) == 0
    done = live.cli("switch", "other", "--wait")
    assert done.returncode == 0
    assert live.state().serving == "other"
    assert live.ask("/stand_in/environ")["argv"][1:] == ["--port", str(live.port), "--cpu"]
    assert len(live.of(OrchestratorStarted)) == 2
    assert len(live.starts("good")) == 1


def test_there_and_back_again_needs_no_new_generation_and_once_more_changes_nothing(workspace):
    live = workspace(good=None, other=None)
    live.serve("good")
    live.switch("other")
    assert live.switch("good").serving == "good"
    assert [event.environment for event in live.of(GenerationRecorded)] == ["good", "other"]
    done = live.cli("switch", "good")
    assert (done.returncode, "serves already" in done.stdout) == (0, True)
    assert len(live.of(SwitchRequested)) == 2
