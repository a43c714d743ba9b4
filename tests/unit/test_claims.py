"""The lock without a switch: who has it, how it ends, and how long its file counts as ours."""

import json

import attrs
import pytest

from journal.events import LockAcquired, LockBroken, LockReleased, Origin, SwitchRefused, SwitchRequested
from journal.identity import Identity
from orchestrator.config import Config
from orchestrator.deciding.admission import admit
from orchestrator.world import SwitchAsk
from projections.locking import OWNER_DEAD, Claim
from projections.publisher import is_ours
from projections.switching import IllegalEventError
from projections.views import LOCK, REQUEST, views
from tests.helpers.histories import PERSON, History, acted, decided, draft_events, events_of, seen, waits_s

STRANGER = Identity(901, 9, "boot-1")


def claimed(holder: Identity = PERSON) -> History:
    history = History().serving("a").after(3600)  # nothing else is being waited for
    history.add(*events_of(decided(history)))
    history.add(LockAcquired(holder=holder))
    return history


def admitted(history: History, requester: Identity, origin: Origin = Origin.FUNCTION, *, dead: bool = False):
    ask = SwitchAsk(target="b", origin=origin, requester=requester)
    return draft_events(admit(history.state, ask, None, history.now, Config(), claim_is_dead=dead))


def test_a_claim_has_a_holder_and_no_switch():
    history = claimed()

    assert history.state.claim == Claim(history.state.seq, history.now, PERSON)
    assert history.state.lock is None


def test_a_claim_is_not_taken_twice():
    with pytest.raises(IllegalEventError, match="claimed by 300"):
        claimed().add(LockAcquired(holder=STRANGER))


def test_a_claim_is_given_up():
    history = claimed()
    history.add(LockReleased())

    assert history.state.claim is None
    with pytest.raises(IllegalEventError, match="lock free"):
        history.add(LockReleased())


def test_a_claim_ends_in_the_switch_that_it_was_meant_for():
    history = claimed().switching("b")

    assert history.state.claim is None
    assert history.state.lock.switch == history.state.job.job


def test_its_file_is_there_without_a_request_and_is_known_as_ours():
    history = claimed()
    lock = views(history.state)[LOCK] or b""

    assert json.loads(lock)["holder_pid"] == PERSON.pid
    assert views(history.state)[REQUEST] is None
    assert is_ours(lock, history.state.seq)
    assert not is_ours(lock, history.state.seq - 1)


def test_its_holder_gets_its_switch_and_another_one_is_told_who_has_it():
    history = claimed()

    assert isinstance(admitted(history, PERSON)[0], SwitchRequested)
    (refused,) = admitted(history, STRANGER)
    assert isinstance(refused, SwitchRefused)
    assert "process 300" in refused.message


def test_a_request_by_file_takes_the_claim_along():
    assert isinstance(admitted(claimed(), STRANGER, Origin.FILE)[0], SwitchRequested)


def test_the_claim_of_a_dead_process_is_in_nobodys_way():
    broken, requested, acquired = admitted(claimed(), STRANGER, Origin.CLI, dead=True)

    assert (broken.why, requested.target) == (OWNER_DEAD, "b")
    assert acquired.holder == STRANGER


def test_an_orchestrator_frees_the_claim_of_a_dead_process_and_looks_once_a_second():
    history = claimed()

    assert waits_s(decided(history), history) == 1
    (broken,) = events_of(acted(history, attrs.evolve(seen(history), claim_is_dead=True)))
    assert isinstance(broken, LockBroken)
    history.add(broken)
    assert history.state.claim is None
