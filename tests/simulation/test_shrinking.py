"""A history that fails is made short, replays exactly, and says by which command."""

import pytest

from tests.simulation import replay
from tests.simulation.cases import Case, failure, play, shrunk
from tests.simulation.mutants import MUTANTS, planted

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]


def first_failure(seeds: range) -> Case:
    return next(Case(seed) for seed in seeds if failure(Case(seed)))


@pytest.mark.parametrize(
    ("name", "most"),
    [("adopting keeps the successes", 2), ("a 43 is a crash", 2), ("a restart is forgotten", 2)],
)
def test_what_fails_with_a_planted_fault_becomes_a_short_history(name, most):
    with planted(MUTANTS[name]):
        found = first_failure(range(100))
        short = shrunk(found)

        assert len(short.kept) <= most
        assert short.seed == found.seed
        assert failure(short)
        assert failure(short) == failure(short)
    assert not failure(short)  # the fault is to blame, not the history


def test_the_command_replays_it_and_tells_what_happened(capsys):
    with planted(MUTANTS["a restart is forgotten"]):
        short = shrunk(first_failure(range(100)))
        assert replay.main(short.command.split()[3:]) == 1
        told = capsys.readouterr().out

    assert short.command in told
    assert failure(short) == ""
    assert "at rest, but the restart" in told
    assert all(f"{number:3}  after event" in told for number in short.kept)


def test_the_command_says_so_when_nothing_is_wrong(capsys):
    assert replay.main(["7"]) == 0
    assert "python -m tests.simulation.replay 7: no invariant is broken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("case", "command"),
    [
        (Case(4711), "4711"),
        (Case(4711, (0, 3)), "4711 --only 0,3"),
        (Case(4711, (), frozenset("ca")), "4711 --only none --plain a,c"),
    ],
)
def test_a_command_stands_for_exactly_one_case(case, command):
    assert case.command == f"python -m tests.simulation.replay {command}"
    assert replay.understood(command.split()) == (case, False)


def test_a_case_has_one_history():
    case = Case(12, (1, 2, 5), frozenset("b"))

    assert play(case).journal == play(case).journal
