"""An orchestrator is killed at every event that it can journal, before and after it, with or without its guard.

However that is, the switch ends, exactly one ComfyUI answers, the lock is free, and every file agrees with the journal.
"""

import pytest
from hypothesis import settings

from journal.events import CATALOGUE, OrchestratorStarted
from journal.identity import is_alive
from tests.helpers.dying_orchestrator import Order
from tests.helpers.kill_stories import STORIES
from tests.helpers.kills import Kill, random_kill, sooner, told
from tests.helpers.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.timeout(120)]

IS_LONG = settings.get_current_profile_name() == "long"
TABLE = """
start                  | orchestrator.started before, guard.started after, startup.captured after, control.listening before both
start                  | start.planned performed, sync.started after, sync.finished before, generation.recorded before both
a good target          | preflight.started performed, switch.preflighted before, process.stop_asked after
a good target          | process.signalled performed, process.exited before both, process.intended performed
a good target          | process.intended before
a good target          | process.spawned after both, health.probed before, health.confirmed after, switch.completed before
a good target          | lock.released after both, capture.started performed, capture.finished before
by page                | file.ingested before, switch.requested after, lock.acquired after both
the first, by page     | source.seen after, process.signalled after
it dies                | health.failed after, switch.failed before, switch.rolling_back after both, switch.rolled_back before
it hangs               | rollback.tried after, health.probed after both
all are broken         | rollback.try_failed after, switch.critically_failed before both
a crash in probation   | generation.disproved before, generation.disproved after both
it is proven           | generation.proven before
an abort               | abort.requested after, abort.requested before both
an end in the middle   | shutdown.requested after, switch.aborted before
an end                 | orchestrator.stopped before, orchestrator.stopped after
a restart by file      | restart.requested before, sync.skipped after
a restart by 42        | process.exited after, process.intended performed both
a crash                | process.exited before, supervision.calm after
no way to start        | process.spawn_failed after, start.failed before, supervision.parked after
an orphan leaves       | guard.reaped before, process.adopted after
a killed one           | orchestrator.lost before, orchestrator.started after, process.adopted performed both
a killed guard         | guard.lost before, guard.lost after
a lost worker          | worker.lost before, worker.cancelled after
an abort of a preflight | worker.spawned after
a survivor             | process.swept after, process.swept performed both
it hangs for a while   | health.unresponsive before, health.responsive after
content comes back     | restore.started performed, restore.started before both, restore.finished before, capture.started after
a lock from long ago   | lock.broken before
half a request         | file.rejected after
a view is deleted      | file.drifted after
two requests           | switch.refused before
the outcome is shown for a while | status.cleared after
"""
"""A story; in it a kill each: at which event, when, and `both` where the guard dies too."""

NOT_HERE = {
    "journal.created": "whoever opens the journal first: there is no switch yet",
    "spawn.requested": "by a command that starts an orchestrator",
    "lock.refused": "by a process that asks for the lock alone",
    "status.set": "by the public manager's call",
    "generation.pinned": "by a command",
    "generation.unpinned": "by a command",
    "capture.skipped": "in place of capture.finished, when the content changes meanwhile",
}
"""Events that no orchestrator journals in these lives, and who does."""


def kills() -> list[Kill]:
    """All of the table."""
    found = []
    for line in TABLE.strip().splitlines():
        story, _, points = line.partition("|")
        for point in points.split(","):
            event, moment, *both = point.split()
            found.append(Kill(story.strip(), Order.read(event, 1, moment, both[0] if both else "orchestrator")))
    return found


def one_of_each() -> list[Kill]:
    """The first kill at each event: enough for every day."""
    return list({kill.order.event: kill for kill in reversed(kills())}.values())


@pytest.mark.scenario("B-01")
@pytest.mark.parametrize("seed", range(2_000 if IS_LONG else 2))
def test_a_random_kill_of_that_seed_does_no_harm_either(workspace, tmp_path, seed):
    kill = random_kill(seed)
    print(kill)  # noqa: T201 - shown when it fails
    while not told(workspace(**STORIES[kill.story].environments), kill, tmp_path):
        kill = sooner(kill)
        print(kill)  # noqa: T201


@pytest.mark.scenario("B-01")
@pytest.mark.parametrize("kill", kills() if IS_LONG else one_of_each(), ids=str)
def test_whoever_is_killed_and_whenever_the_switch_ends_and_one_comfyui_answers(workspace, tmp_path, kill):
    assert told(workspace(**STORIES[kill.story].environments), kill, tmp_path)


@pytest.mark.scenario("B-01")
def test_what_has_ended_in_good_order_is_not_started_again_by_whoever_survives_the_guard(workspace, tmp_path):
    live = workspace(**STORIES["an end"].environments)
    assert told(live, Kill("an end", Order("orchestrator.stopped", who="guard")), tmp_path)
    (started,) = live.of(OrchestratorStarted)
    until(lambda: not is_alive(started.identity))
    assert live.names()[-1] == "orchestrator.stopped"
    assert live.of(OrchestratorStarted) == [started]


def test_every_event_is_one_at_which_somebody_is_killed():
    assert len(one_of_each()) >= 40
    assert {kill.order.event for kill in one_of_each()} | NOT_HERE.keys() == CATALOGUE.keys()
    assert not {kill.order.event for kill in kills()} & NOT_HERE.keys()
