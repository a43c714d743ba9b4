"""One story with one kill, on real processes, and everything that has to hold afterwards."""

import contextlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs

from journal import verify
from journal.events import ProcessExited, ProcessSpawned, ProcessSpawnFailed, SourceSeen, SwitchKind, SwitchRequested
from journal.identity import Identity, is_alive
from journal.store import Journal
from projections.state import WorkspaceState
from tests.helpers import dying_orchestrator
from tests.helpers.dying_orchestrator import ANY, MOMENTS, Order, is_carried_out, victims_of
from tests.helpers.kill_stories import STORIES, Story, is_kept
from tests.helpers.live_workspace import LiveWorkspace
from tests.helpers.waiting import until

PATIENCE_S = 40.0
BY_COMMAND_FILE = {"an abort", "an abort of a preflight", "an end in the middle", "an end", "a restart by file"}
"""What a `.cmd` asks for ends with the orchestrator that it was meant for, when a person starts the next one."""
NOT_FOR_ANYBODY = {"an orphan leaves", "a lost worker", "a killed one", "a killed guard"}
"""Stories in which the test itself kills: two deaths at the same moment would leave nobody."""


@attrs.frozen
class Kill:
    """A story, and when somebody dies in it."""

    story: str
    order: Order

    def __str__(self) -> str:
        """For the name of a test."""
        order = self.order
        return f"{self.story}, {order.who}, {order.moment} {order.event} {order.occurrence}"


def random_kill(seed: int) -> Kill:
    """Anybody, at any event of any story, before or after it."""
    chance = random.Random(seed)
    story = chance.choice([name for name in STORIES if name not in NOT_FOR_ANYBODY])
    who = chance.choice(("orchestrator", "orchestrator", "guard", "guard" if story in BY_COMMAND_FILE else "both"))
    return Kill(story, Order(ANY, chance.randint(1, 30), chance.choice(MOMENTS), who))


def sooner(kill: Kill) -> Kill:
    """The same at half as many events: the story was over before."""
    return attrs.evolve(kill, order=attrs.evolve(kill.order, occurrence=max(1, kill.order.occurrence // 2)))


def told(live: LiveWorkspace, kill: Kill, folder: Path) -> bool:
    """The story with its kill, its end checked; whether anybody was killed, or the story over before."""
    story, path = STORIES[kill.story], folder / "order"
    story.prepare(live)
    first = "other" if story.begins and "page" in kill.story else next(iter(story.environments), "plain")
    live.configure(**{"source_grace_s": 0, **story.settings})
    if story.begins:
        kill.order.give(path)
        story.act(live)
        _start(live, path, first)
    else:
        _start(live, path, first)
        live.until(lambda state: state.serving == first and state.control is not None)
        if kill.story == "content comes back":
            is_kept(live, "plain")
        kill.order.give(path)
    with _somebody_to_start_it_again(live, kill, path, first if story.begins else ""):  # the same command again
        if not story.begins:
            story.act(live)
        if kill.order.event == ANY:
            live.until(lambda state: not path.exists() or is_at_rest(live, story, state), PATIENCE_S)
            path.unlink(missing_ok=True)  # the story was over before there had been that many events
        state = live.until(lambda state: is_carried_out(path) and is_at_rest(live, story, state), PATIENCE_S)
    check(live, story, state)
    return victims_of(path).exists()


def _start(live: LiveWorkspace, order: Path, environment: str) -> None:
    command = [sys.executable, dying_orchestrator.__file__, "run", "--workspace", str(live.root)]
    command += ["--environment", environment, "--args", "--port", str(live.port)]
    root = str(Path(dying_orchestrator.__file__).parents[2])
    environ = {**os.environ, dying_orchestrator.DYING_AT: str(order), "PYTHONPATH": root}
    with (live.metadata / "orchestrator.log").open("ab") as log:
        live.orchestrators.append(subprocess.Popen(command, stdout=log, stderr=log, env=environ))


@contextlib.contextmanager
def _somebody_to_start_it_again(live: LiveWorkspace, kill: Kill, order: Path, environment: str) -> Iterator[None]:
    """By hand, where the guard is to die too, and once it has. Nobody is started any more when the block is left."""
    if kill.order.who in {"orchestrator", "guard"}:
        yield
        return
    guard, over = live.orchestrators[-1], threading.Event()

    def revive() -> None:
        until(lambda: over.is_set() or is_carried_out(order), PATIENCE_S)
        if not over.is_set() and victims_of(order).exists():
            guard.wait(PATIENCE_S)
            live.start(environment)

    thread = threading.Thread(target=revive)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_at_rest(live: LiveWorkspace, story: Story, state: WorkspaceState) -> bool:
    """Whether everything that was begun has come to its end."""
    if (state.job, state.lock, state.worker, state.restart_asked) != (None, None, None, None):
        return False
    if not story.reached(live, state):
        return False
    if story.ends:
        return state.orchestrator is None and not state.processes
    if state.orchestrator is None or not is_alive(state.orchestrator):
        return False
    if not story.serves:
        return state.parked is not None and not state.processes
    main = state.main_process
    return state.serving == story.serves and main is not None and main.owner == state.orchestrator


def check(live: LiveWorkspace, story: Story, state: WorkspaceState) -> None:
    """Exactly one ComfyUI answers, of the right environment; nothing ran beside it; the journal is whole."""
    until(lambda: len(living(live)) == (1 if story.serves else 0))
    if story.serves:
        assert state.main_process is not None
        assert state.main_process.identity in living(live)
        told = live.ask("/stand_in/environ")
        assert told["pid"] == live.of(ProcessSpawned)[-1].identity.pid
        assert Path(told["executable"]).is_relative_to(live.root / "environments" / story.serves)
    check_one_at_a_time(live)
    until(live.files_agree)
    assert len([event for event in live.of(SwitchRequested) if event.kind is not SwitchKind.RECOVER]) <= 1
    with Journal.open_readonly(live.metadata / "journal.db") as journal:
        assert verify(journal).problems == ()


def living(live: LiveWorkspace) -> list[Identity]:
    """The ComfyUIs of the workspace that live; whether all that ran are in the journal is looked at elsewhere."""
    return [event.identity for event in live.of(ProcessSpawned) if is_alive(event.identity)]


def check_one_at_a_time(live: LiveWorkspace) -> None:
    """By the journal; and nothing has run that is not in it."""
    alive: set[int] = set()
    for recorded in live.recorded(ProcessSpawned, ProcessExited):
        match recorded.event:
            case ProcessSpawned(spawn=spawn):
                alive.add(spawn)
            case ProcessExited(spawn=spawn):
                alive.discard(spawn)
        assert len(alive) <= 1, f"two at a time at event {recorded.seq}"
    names = [folder.name for folder in (live.root / "environments").iterdir()]
    ran = {start["pid"] for name in names for start in live.starts(name)}
    seen = [*live.of(ProcessSpawned)], [*live.of(SourceSeen)]
    unseen = ran - {event.identity.pid for events in seen for event in events}
    lost = [
        event for event in live.of(ProcessSpawnFailed) if event.lost
    ]  # it had ended before a successor could look for it
    assert len(unseen) <= len(lost), unseen
