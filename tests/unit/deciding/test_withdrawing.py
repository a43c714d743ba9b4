"""Whether a person took a switch back by deleting its files, or whether those were never written."""

import pytest

from journal.events import LockAcquired, Origin, RollbackTried, SwitchKind
from orchestrator.deciding.withdrawing import was_deleted
from tests.helpers.histories import ME, History, requested, stamp


def recovering() -> History:
    """All in one transaction, as `decide` has it: the way back is asked for and begun."""
    history = History().serving("a")
    asked = requested("a", kind=SwitchKind.RECOVER, origin=Origin.SUPERVISOR)
    history.add(asked, LockAcquired(holder=ME))
    history.add(RollbackTried(environment="a", generation=None, attempt=1, restores=True))
    return history


def is_taken_back(history: History, *, lock_there: bool = False, request_there: bool = False) -> bool:
    return was_deleted(history.state, history.now, lock_there=lock_there, request_there=request_there)


def test_a_way_back_whose_writer_was_killed_before_it_wrote_a_file_goes_on():
    assert not is_taken_back(recovering())


def test_once_more_was_journaled_its_files_had_been_there():
    history = recovering()
    history.after(0.001).synced()
    assert is_taken_back(history)


@pytest.mark.parametrize("origin", [Origin.CLI, Origin.FILE])
def test_what_somebody_else_asked_for_has_its_files_from_the_beginning(origin):
    assert is_taken_back(History().serving("a").switching("b", origin=origin))


@pytest.mark.parametrize(("lock_there", "request_there"), [(True, False), (False, True)])
def test_one_file_is_enough_to_delete(lock_there, request_there):
    history = History().serving("a").switching("b")
    assert is_taken_back(history, lock_there=lock_there, request_there=request_there)
    assert not is_taken_back(history, lock_there=True, request_there=True)


def test_what_a_machine_lost_that_went_down_nobody_deleted():
    history = History().serving("a").switching("b")
    assert not was_deleted(history.state, stamp(100, "boot-2"), lock_there=False, request_there=False)


def test_a_plain_start_has_no_such_files():
    assert not is_taken_back(History().begun("a"))
