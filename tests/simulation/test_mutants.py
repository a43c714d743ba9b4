"""The simulation notices faults that are planted in the rules. All of them with `tools/test --long`, a handful otherwise."""

import pytest
from hypothesis import settings

from orchestrator.deciding import idling
from tests.simulation.mutants import MUTANTS, Mutant, RottenMutantError, killed_by, planted

pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.timeout(900)]

IS_LONG = settings.get_current_profile_name() == "long"
HANDFUL = [
    "there is no probation",
    "a stranger's answer counts",
    "adopting keeps the successes",
    "an abort while validating is ignored",
    "nothing is killed",
    "a request is answered twice",
    "the unproven before the proven",
    "the way back is never spent",
]
KILLED = [name for name, mutant in MUTANTS.items() if not mutant.survives]


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_changes_one_function(name):
    with planted(MUTANTS[name]) as changed:
        assert changed == 1


@pytest.mark.parametrize("name", MUTANTS if IS_LONG else HANDFUL)
def test_the_simulation_notices_all_but_those_that_are_explained(name):
    assert bool(killed_by(MUTANTS[name])) == (name in KILLED)


def test_nearly_all_of_them_are_killed():
    assert len(MUTANTS) >= 20
    assert len(KILLED) >= 0.9 * len(MUTANTS)


def test_a_mutant_is_gone_afterwards():
    before = idling._broke_probation.__code__
    with planted(MUTANTS["there is no probation"]):
        assert idling._broke_probation.__code__ != before

    assert idling._broke_probation.__code__ is before


@pytest.mark.parametrize("text", ["this stands nowhere", "return "])
def test_a_mutant_of_a_text_that_does_not_stand_there_once_is_refused(text):
    with pytest.raises(RottenMutantError), planted(Mutant("orchestrator.deciding.idling", text, "pass")):
        pass
