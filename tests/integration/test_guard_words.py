"""What an orchestrator makes of the words of its guard."""

import os

import pytest

from journal.events import OrchestratorLost
from journal.identity import Identity
from orchestrator.guarding import GuardLink

GUARD, BEFORE = Identity(30, 3, "boot"), Identity(31, 4, "boot")


@pytest.mark.parametrize(
    ("before", "lost"),
    [
        (BEFORE, OrchestratorLost(identity=BEFORE, code=3)),
        (Identity(32, 5, "boot"), OrchestratorLost(identity=Identity(32, 5, "boot"), signal="SIGKILL")),
        (Identity(33, 6, "boot"), OrchestratorLost(identity=Identity(33, 6, "boot"), signal="SIG40")),
        (Identity(31, 5, "boot"), OrchestratorLost(identity=Identity(31, 5, "boot"))),  # another one of that pid
        (Identity(31, 4, "other"), OrchestratorLost(identity=Identity(31, 4, "other"))),
        (GUARD, OrchestratorLost(identity=GUARD, became_guard=True)),
    ],
)
def test_how_the_one_before_ended_is_as_the_guard_says(before, lost):
    hear, say = os.pipe()
    try:
        os.set_blocking(hear, False)
        os.write(say, f"reaped 31 4 {3 << 8}\nreaped 32 5 9\nreaped 33 6 40\n".encode())
        assert GuardLink(GUARD, again=True, hear=hear).loss_of(before) == lost
    finally:
        os.close(hear)
        os.close(say)
