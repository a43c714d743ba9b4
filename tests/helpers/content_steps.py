"""What people and accidents do to a workspace of ComfyGit environments, as data: sequences of steps, and how they are taken."""

import itertools
from collections.abc import Iterator
from enum import StrEnum

import attrs
from hypothesis import strategies as st

from comfyui_stand_in.comfygit import git
from journal.events import RestoreStarted
from projections.generations import find
from tests.helpers.broken_invariant import must
from tests.helpers.content_on_disk import BREAKS, WorldOnDisk
from tests.helpers.content_template import NAMES, WORKFLOWS, Template


class How(StrEnum):
    """What is done to a manifest."""

    NOTE = "note"
    BREAK = "break"
    MEND = "mend"
    TYPO = "typo"
    BARE = "bare"
    UPDATE = "update"
    BREAKING_UPDATE = "breaking update"
    REVERT = "revert"


@attrs.frozen
class EditManifest:
    """Not committed."""

    environment: str
    how: How

    def take(self, play: "Play") -> None:
        """Do it."""
        owner = play.world.environments[self.environment].owner
        text = owner.manifest_file.read_bytes() if owner.manifest_file.exists() else owner.committed
        good, newer, broken = (commit.encode() for commit in play.template.releases[self.environment])
        match self.how:
            case How.NOTE:
                text += b"\n# note %d \r\n" % next(play.numbers)
            case How.BREAK:
                text += b"\n" + BREAKS + b" %d\n" % next(play.numbers)
            case How.MEND:
                text = b"\n".join(line for line in text.split(b"\n") if not line.startswith((BREAKS, b"[[")))
                text = text.replace(broken, good)
            case How.TYPO:
                text += b"\n[[ %d\n" % next(play.numbers)
            case How.BARE:  # core puts back what it misses, whenever it syncs
                text = text.partition(b"[dependency-groups]")[0] + b"# bare %d\n" % next(play.numbers)
            case How.UPDATE:
                text = text.replace(good, newer).replace(broken, newer)
            case How.BREAKING_UPDATE:
                text = text.replace(good, broken).replace(newer, broken)
            case How.REVERT:
                text = owner.committed
        owner.write_manifest(text)


@attrs.frozen
class Update:
    """The manifest edited, then started with that: by a restart where it serves, else by a switch."""

    environment: str
    how: How

    def take(self, play: "Play") -> None:
        """Do it."""
        EditManifest(self.environment, self.how).take(play)
        if play.world.state.serving == self.environment:
            play.world.ask_restart()
        else:
            play.world.ask_switch(self.environment)


@attrs.frozen
class UpdateNode:
    """`git checkout` of another release in the tracked node's folder: the manifest says nothing of it."""

    environment: str
    release: int

    def take(self, play: "Play") -> None:
        """Do it."""
        node = play.world.environments[self.environment].node
        if (node / ".git").exists():
            git(node, "checkout", "--quiet", play.template.releases[self.environment][self.release])


@attrs.frozen
class EditFiles:
    """Workflows and custom nodes that nobody tracks: made, changed, or (not `there`) removed."""

    environment: str
    names: tuple[str, ...]
    there: bool = True

    def take(self, play: "Play") -> None:
        """Do it."""
        for name in self.names:
            data = b"# mine, %d\r\n\xff" % next(play.numbers) if self.there else None
            play.world.environments[self.environment].owner.write(name, data)


@attrs.frozen
class Commit:
    """Of all that there is, or (`only_staged`) just into the index."""

    environment: str
    only_staged: bool = False

    def take(self, play: "Play") -> None:
        """Do it."""
        owner = play.world.environments[self.environment].owner
        owner.stage() if self.only_staged else owner.commit()


@attrs.frozen
class Restart:
    """Asked for by command."""

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.ask_restart()


@attrs.frozen
class Switch:
    """To the other environment, or to the same one."""

    environment: str

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.ask_switch(self.environment)


@attrs.frozen
class RollBack:
    """To the generation so many before the newest one, of those with another content than what is there, if there are any."""

    back: int

    def take(self, play: "Play") -> None:
        """Do it."""
        known = play.world.state.generations
        here = {name: environment.content for name, environment in play.world.environments.items()}
        known = tuple(g for g in known if g.kept and g.content != here[g.environment]) or known
        if known:
            chosen = known[-1 - self.back % len(known)]
            play.world.ask_switch(chosen.environment, generation=chosen.generation)


@attrs.frozen
class Undo:
    """Of the last restore: back to what it has saved."""

    def take(self, play: "Play") -> None:
        """Do it."""
        restores = play.world.events(RestoreStarted)
        saved = find(play.world.state.generations, restores[-1].saved) if restores else None
        if saved is not None:
            play.world.ask_switch(saved.environment, generation=saved.generation)


@attrs.frozen
class Abort:
    """Of the open switch, by command. A sync that is killed for it dies before that change of its own."""

    changes: int

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.dies_before_change = self.changes
        play.world.ask_abort()


@attrs.frozen
class Kill:
    """The orchestrator, at that boundary from now on; the next one is started by hand or by a guard."""

    boundaries: int
    changes: int
    by_hand: bool

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.dies_before_change, play.by_hand = self.changes, self.by_hand
        play.world.dies_at_boundary = play.world.boundaries + self.boundaries


@attrs.frozen
class LosePower:
    """Everything stops where it is."""

    changes: int

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.dies_before_change = self.changes
        play.world.lose_power()


@attrs.frozen
class Wait:
    """Until what serves is proven."""

    def take(self, play: "Play") -> None:
        """Do it."""
        play.world.run(75.0)


Step = (
    EditManifest
    | Update
    | UpdateNode
    | EditFiles
    | Commit
    | Restart
    | Switch
    | RollBack
    | Undo
    | Abort
    | Kill
    | LosePower
    | Wait
)
Steps = list[tuple[Step, float | None]]
"""Each with the seconds after which the next one is taken; None: when all is at rest."""

_NAMES = st.sampled_from(NAMES)
_CHANGES = st.integers(1, 70)
"""A sync makes about 60."""
FILES = (
    *(f"{place}/{file}" for place in WORKFLOWS for file in ("one.json", "deep/two.json")),
    *(f"ComfyUI/custom_nodes/{file}" for file in ("mine.py", "mine/__init__.py", "mine/data.bin")),
)
_FILE_EDITS = st.builds(EditFiles, _NAMES, st.just(FILES)) | st.builds(
    EditFiles, _NAMES, st.tuples(st.sampled_from(FILES)), st.booleans()
)
_HAPPENINGS: tuple[tuple[int, st.SearchStrategy[Step]], ...] = (
    (3, st.builds(EditManifest, _NAMES, st.sampled_from(How))),
    (6, st.builds(Update, _NAMES, st.sampled_from(How))),
    (2, st.builds(UpdateNode, _NAMES, st.integers(0, 2))),
    (5, _FILE_EDITS),
    (2, st.builds(Commit, _NAMES, st.booleans())),
    (2, st.just(Restart())),
    (3, st.builds(Switch, _NAMES)),
    (6, st.builds(RollBack, st.integers(0, 6))),
    (2, st.just(Undo())),
    (2, st.builds(Abort, _CHANGES)),
    (3, st.builds(Kill, st.integers(0, 20), _CHANGES, st.booleans())),
    (1, st.builds(LosePower, _CHANGES)),
    (1, st.just(Wait())),
)
_PAUSES_S = st.sampled_from([None, None, None, 0.0, 0.1, 0.3, 0.5, 1.1, 2.0, 4.0])


def steps() -> st.SearchStrategy[Steps]:
    """Sequences in which what matters most is frequent, and anything can follow on anything."""
    weighted = [number for number, (weight, _) in enumerate(_HAPPENINGS) for _ in range(weight)]
    step = st.sampled_from(weighted).flatmap(lambda number: _HAPPENINGS[number][1])
    return st.lists(st.tuples(step, _PAUSES_S), min_size=5, max_size=16)


@attrs.define
class Play:
    """One sequence of steps, taken one after the other in a workspace of its own."""

    template: Template
    world: WorldOnDisk
    by_hand: bool = True
    numbers: Iterator[int] = attrs.Factory(lambda: itertools.count(1))

    def run(self, sequence: Steps) -> None:
        """Take them all, and look at everything whenever it is at rest. The journal's end goes with every failure."""
        try:
            self.world.run_orchestrator(NAMES[0])
            self._rest()
            for step, pause_s in sequence:
                step.take(self)
                if pause_s is None:
                    self._rest()
                else:
                    self._pass(pause_s)
            self.world.dies_at_boundary = 0
            self._rest()
            self.world.check_replay()
        except Exception as error:
            error.add_note(self.world.story(60))
            raise

    def _pass(self, pause_s: float) -> None:
        if self.world.orchestrator is None:
            self._start_again()
        self.world.run(pause_s)

    def _start_again(self) -> None:
        self.world.run_orchestrator(manual=self.by_hand)

    def _rest(self) -> None:
        for _ in range(3):
            if self.world.orchestrator is None:
                self._start_again()
            self.world.run_to_rest()
            if self.world.orchestrator is not None:
                break
        must(self.world.orchestrator is not None, "no orchestrator stays: exit status {}", self.world.exit_status)
        for environment in self.world.environments.values():
            environment.owner.check(self.world.state.generations)
