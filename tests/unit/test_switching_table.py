"""Every row of the stage table by a real fold, and every pair that is no row."""

import pytest

from projections.jobs import JobKind
from projections.switching import (
    PROGRESS,
    PUBLIC_STAGE,
    STAGE_EVENTS,
    TRANSITIONS,
    IllegalEventError,
    Stage,
    next_stage,
    symbol_of,
)
from tests.helpers.histories import History, event_of, in_stage, synced

ROWS = [(stage, symbol, after) for stage, row in TRANSITIONS.items() for symbol, after in row.items()]
SYMBOLS = sorted({symbol for row in TRANSITIONS.values() for symbol in row})
NO_ROWS = [(stage, symbol) for stage, row in TRANSITIONS.items() for symbol in SYMBOLS if symbol not in row]


def before(stage: Stage, symbol: str) -> History:
    """A history in which `symbol` can happen in `stage`, where anything can."""
    if symbol == "start.failed" and stage not in {Stage.PREPARING, Stage.CHOOSING}:
        return in_stage(stage, JobKind.START)
    rolling = symbol == "rollback.try_failed" and stage not in {Stage.PREPARING, Stage.CHOOSING}
    history = in_stage(stage, rolling=rolling)
    if symbol.startswith(("switch.preflighted", "sync.finished")):
        history.add(event_of("preflight.started" if stage is Stage.PREPARING else "sync.started", history))
    return history


@pytest.mark.parametrize(("stage", "symbol", "after"), ROWS)
def test_a_row_leads_where_it_says(stage, symbol, after):
    history = before(stage, symbol)

    history.add(event_of(symbol, history))

    assert history.stage is (None if after is Stage.OVER else after)


@pytest.mark.parametrize(("stage", "symbol"), NO_ROWS)
def test_whatever_is_no_row_is_illegal_and_says_so(stage, symbol):
    event = event_of(symbol, in_stage(stage))

    with pytest.raises(IllegalEventError, match=stage.value) as caught:
        next_stage(stage, event, 77)

    assert (caught.value.stage, caught.value.event_name, caught.value.seq) == (stage, event.stored_name, 77)
    assert event.stored_name in str(caught.value)
    assert "77" in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "symbol"),
    [(stage, symbol) for stage, symbol in NO_ROWS if not symbol.startswith(("process.", "health."))],
)
def test_the_fold_refuses_it_too_and_leaves_the_state_as_it_was(stage, symbol):
    history = in_stage(stage)
    state = history.state

    with pytest.raises(IllegalEventError):
        history.add(event_of(symbol, history))

    assert history.state is state


ABOUT_ONE_PROCESS = {"process.exited", "process.spawned", "process.spawn_failed", "health.confirmed"}
"""They move a job only when they are about the process that it has started."""


@pytest.mark.parametrize("symbol", sorted(STAGE_EVENTS - ABOUT_ONE_PROCESS))
def test_without_a_job_there_is_no_stage(symbol):
    event = event_of(symbol, in_stage(Stage.PREPARING))

    with pytest.raises(IllegalEventError, match="no job"):
        History().serving().add(event)


def test_a_sync_that_failed_and_is_tolerated_goes_on():
    assert symbol_of(synced(1, "a", ok=False, tolerated=True)) == "sync.finished"
    assert symbol_of(synced(1, "a", ok=False)) == "sync.finished:bad"


def test_every_stage_has_a_public_name_and_every_public_name_a_progress():
    assert set(PUBLIC_STAGE) == set(Stage) - {Stage.OVER}
    assert set(PUBLIC_STAGE.values()) <= set(PROGRESS)


def test_the_way_through_a_switch_never_goes_back():
    shown = [PROGRESS[name] for name in ("preparing", "syncing", "starting", "validating", "complete")]

    assert shown == [10, 30, 60, 80, 100]
    assert [PROGRESS[name] for name in ("rolling_back", "rolled_back", "critical_failure", "aborted")] == [90] + 3 * [
        100
    ]
    assert PROGRESS["recovering"] == 50
