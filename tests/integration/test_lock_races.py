"""Eight processes want the lock at the same moment, a thousand times: one of them has it each time."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from journal import Journal, own_actor, verify
from journal.events import LockAcquired, LockReleased
from projections.evolve import fold
from tests.helpers.contenders import Contender, contenders

pytestmark = [pytest.mark.slow, pytest.mark.scenario("B-03")]

PROCESSES = 8
CLAIMS, ASKS = 150, 850
"""Rounds: a claim opens the journal and folds it, which takes longer than the race."""
ROUNDS_OF_A_JOURNAL = 25
"""A new one now and then keeps the time for races, not for reading."""


def race(
    tmp_path: Path, rounds: int, ask: Callable[[int], Sequence[str]], free: str, among: Sequence[Contender]
) -> tuple[list[int], list[Path]]:
    """How many had it in each round, and the workspaces that they raced in. `ask`: what each says in a round."""
    had, roots = [], []
    with ExitStack() as stack:
        for number in range(rounds):
            if number % ROUNDS_OF_A_JOURNAL == 0:
                stack.close()
                roots.append(workspace_in(tmp_path / f"{free}-{number}"))
                stack.enter_context(Journal.open(roots[-1] / ".metadata" / "journal.db", own_actor("orchestrator")))
            for one, what in zip(among, ask(number), strict=True):
                one.say(what, roots[-1])
            winners = [one for one, heard in zip(among, [one.heard() for one in among], strict=True) if heard == "had"]
            had.append(len(winners))
            for one in winners:
                one.say(free, roots[-1])
                assert one.heard() == "had"
    return had, roots


def workspace_in(root: Path) -> Path:
    (root / ".metadata").mkdir(parents=True)
    (root / "environments" / "one").mkdir(parents=True)
    return root


def grants(root: Path) -> int:
    """How often the lock was taken, by the journal; never while it was held."""
    count, held = 0, False
    with Journal.open_readonly(root / ".metadata" / "journal.db") as journal:
        for recorded in journal.read():
            if isinstance(recorded.event, LockAcquired):
                assert not held, f"two holders at seq {recorded.seq}"
                count, held = count + 1, True
            held = held and not isinstance(recorded.event, LockReleased)
        assert verify(journal).ok
        assert fold(journal.read()).lock is None
    return count


@pytest.mark.timeout(180)
def test_of_eight_that_claim_the_lock_at_once_one_has_it(tmp_path):
    with contenders(PROCESSES) as among:
        had, roots = race(tmp_path, CLAIMS, lambda _: ["claim"] * PROCESSES, "release", among)
    assert had == [1] * CLAIMS
    assert sum(map(grants, roots)) == CLAIMS


@pytest.mark.timeout(180)
def test_of_eight_that_ask_for_a_switch_at_once_one_has_it(tmp_path):
    """By command and by the panel."""
    with contenders(PROCESSES) as among:
        had, roots = race(tmp_path, ASKS, lambda _: ["cli", "panel"] * (PROCESSES // 2), "free", among)
    assert had == [1] * ASKS
    assert sum(map(grants, roots)) == ASKS


def test_of_claims_and_wishes_at_once_one_is_granted(tmp_path):
    ways = ["claim", "cli", "panel", "cli"] * (PROCESSES // 4)
    with contenders(PROCESSES) as among:
        root = workspace_in(tmp_path / "mixed")
        for _ in range(20):
            for one, what in zip(among, ways, strict=True):
                one.say(what, root)
            assert [one.heard() for one in among].count("had") == 1
            among[0].say("release", root)  # whatever it is: with no orchestrator alive a switch is withdrawn
            assert among[0].heard() == "had"
    assert grants(root) == 20
