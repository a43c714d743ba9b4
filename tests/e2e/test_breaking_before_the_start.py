"""A target that is broken before anything was stopped for it: the old environment never stops answering."""

import signal

import pytest

from journal.events import (
    ExitCause,
    ProcessExited,
    ProcessIntended,
    ProcessSpawned,
    ProcessStopAsked,
    SwitchFailed,
    SwitchRolledBack,
)
from journal.identity import is_alive
from projections.state import OutcomeState
from tests.helpers.bystanders import SteadyCaller
from tests.helpers.waiting import until


def without_main_py(live, name):
    (live.comfyui(name) / "main.py").unlink()


def without_python(live, name):
    (live.comfyui(name).parent / ".venv/bin/python").unlink()


def with_an_import_that_fails(live, name):
    main = live.comfyui(name) / "main.py"
    main.write_text(f"import no_such_package\n{main.read_text()}")


BROKEN = {
    without_main_py: "main.py is missing",
    without_python: "bin/python is missing",
    with_an_import_that_fails: "no_such_package",
}


@pytest.mark.scenario("B-05")
def test_it_is_found_in_preflight_and_the_old_one_never_stops_answering(workspace):
    live = workspace(good=None, **{break_it.__name__: None for break_it in BROKEN})
    for break_it in BROKEN:
        break_it(live, break_it.__name__)
    live.serve("good")
    with SteadyCaller(live.port) as caller:
        for number, (break_it, problem) in enumerate(BROKEN.items()):
            ended = live.switch(break_it.__name__).switches[-1]
            assert (ended.state, ended.serving) == (OutcomeState.ROLLED_BACK, "good")
            assert problem in ended.error
            assert live.of(SwitchFailed)[number].reason == "preflight"
        assert problem in live.shown("rolled_back")["error"]
        answered = caller.answers
        until(lambda: caller.answers > max(answered, 5))
    assert not caller.failures
    assert caller.answers > 5
    assert all(event.nothing_stopped for event in live.of(SwitchRolledBack))
    assert not live.of(ProcessStopAsked)
    assert len(live.of(ProcessIntended)) == 1


@pytest.mark.scenario("B-05", "OL-04")
def test_the_43_that_follows_a_switch_which_has_failed_already_belongs_to_it(workspace):
    live = workspace(good=None, bad=None)
    without_main_py(live, "bad")
    live.serve("good")
    live.request("bad", "good")
    live.until_over()
    assert live.of(SwitchRolledBack)[0].nothing_stopped
    live.leave(43)
    state = live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert live.of(ProcessExited)[0].cause is ExitCause.SWITCH
    assert state.crashes == 0
    assert not live.starts("bad")


@pytest.mark.scenario("B-05", "OL-04")
def test_a_source_that_has_left_with_43_already_is_started_again_at_once(workspace):
    live = workspace(good=None, bad=None)
    without_main_py(live, "bad")
    process = live.serve("good")
    process.send_signal(signal.SIGSTOP)  # it looks only when all of it has happened
    live.request("bad", "good")
    live.leave(43)
    until(lambda: not is_alive(live.of(ProcessSpawned)[0].identity))
    process.send_signal(signal.SIGCONT)
    state = live.until(lambda state: state.serving == "good" and bool(state.switches) and len(live.starts("good")) == 2)
    assert state.lock is None
    assert not live.starts("bad")
    assert not state.parked
