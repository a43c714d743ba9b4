"""How long a ComfyUI whose page asked for a switch is left alone, once its target is ready to be started."""

import pytest

from journal.events import Origin, SyncSkipped
from tests.helpers.histories import History, decided, done, names_of, waits_s

SKIPPED = SyncSkipped(environment="b", fingerprint="content of b")


def ready_to_start(origin: Origin) -> History:
    """A switch that has been asked for 1.2 s ago, and now wants the port."""
    return History().serving("a").switching("b", origin=origin).preflighted().synced()


@pytest.mark.parametrize("origin", [Origin.FILE, Origin.FUNCTION])
def test_one_that_leaves_by_itself_has_five_seconds_from_the_request(origin):
    history = ready_to_start(origin)

    assert waits_s(decided(history), history) == pytest.approx(3.8)
    history.after(3.8)
    assert names_of(decided(history)) == ["process.stop_asked", "process.signalled"]


def test_our_panels_has_time_for_its_answer_and_is_stopped_then():
    history = History().serving("a").switching("b", origin=Origin.PANEL).preflighted()
    history.add(SKIPPED)

    assert waits_s(decided(history), history) == pytest.approx(1.8)
    history.after(1.8)
    assert names_of(decided(history)) == ["process.stop_asked", "process.signalled"]


def test_our_panels_leaves_by_itself_when_an_orchestrator_had_to_be_started_for_it():
    history = History().serving("a").switching("b", origin=Origin.PANEL).after(0.5).succeeded_by()
    done(history, decided(history)).preflighted()
    history.add(SKIPPED)

    assert waits_s(decided(history), history) == pytest.approx(4.3)


def test_a_command_waits_for_nobody():
    assert names_of(decided(ready_to_start(Origin.CLI))) == ["process.stop_asked", "process.signalled"]
