"""The fold as a whole: order, completeness, and that it may be cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.events import CATALOGUE, FileDrifted, LockBroken
from projections.evolve import SILENT, evolve, fold, unhandled
from projections.state import WorkspaceState
from projections.switching import IllegalEventError, Stage
from projections.views import views
from tests.helpers.histories import History, in_stage, orchestrator_started


def long_history() -> History:
    """A start, a good switch, a failed one and its rollback."""
    history = History().serving("a").switching("b").completed().switching("c")
    return history.preflighted().synced().cleared().started().rolling_back().tried("b", None).synced().started()


HISTORY = long_history()


def test_a_gap_in_the_seqs_is_illegal():
    history = History().begun()

    with pytest.raises(IllegalEventError, match="at seq 2"):
        evolve(WorkspaceState(seq=2), history.records[0])


def test_every_event_of_the_catalogue_is_folded_or_known_to_change_nothing():
    assert unhandled() == frozenset()
    assert frozenset(CATALOGUE) >= SILENT


@pytest.mark.parametrize("event", [FileDrifted(name=".cmd", found=""), LockBroken(why="foreign_stale", age_ns=1)])
def test_an_event_that_only_explains_changes_seq_and_time_alone(event):
    before = in_stage(Stage.SYNCING)
    state = before.state

    before.after(1).add(event)

    assert before.state == attrs_evolved(state, before)


def attrs_evolved(state: WorkspaceState, history: History) -> WorkspaceState:
    import attrs

    return attrs.evolve(state, seq=state.seq + 1, at=history.now)


@given(st.integers(0, len(HISTORY.records)))
def test_folding_in_two_parts_is_folding_at_once(cut):
    first = fold(HISTORY.records[:cut])

    assert fold(HISTORY.records[cut:], first) == HISTORY.state


@given(st.integers(0, len(HISTORY.records)))
def test_views_are_a_function_of_the_state_alone(cut):
    state = fold(HISTORY.records[:cut])

    assert views(state) == views(fold(HISTORY.records[:cut]))
    assert fold(HISTORY.records[:cut]) == state


def test_folding_leaves_the_earlier_state_alone():
    history = History().serving("a")
    earlier, seen_before = history.state, repr(history.state)

    history.switching("b").completed()

    assert repr(earlier) == seen_before


def test_a_second_orchestrator_is_illegal_while_the_first_has_not_ended():
    history = History().begun()

    with pytest.raises(IllegalEventError, match="orchestrator 100 not yet ended"):
        history.add(orchestrator_started())
