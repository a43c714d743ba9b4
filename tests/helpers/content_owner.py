"""What the owner of a ComfyGit environment may count on: all that they wrote is there, byte for byte, and their git is theirs.

The manifest is the one file that others write, too. It has the bytes that the owner last wrote, but for two cases:

- A sync that began when it was exactly what HEAD has: comfygit-core may leave its own version, and HEAD has the owner's.
- A restore: it is that of the generation, and the owner's is in the generation that `restore.started` names as saved.
"""

import re
from pathlib import Path

import attrs

from comfyui_stand_in.comfygit import git
from journal.events import RestoreStarted
from orchestrator.environments.content_files import content_digest, digest_of
from orchestrator.environments.git_content import load, ref_of
from orchestrator.workspace import EnvironmentPaths
from projections.generations import Generation
from tests.helpers.broken_invariant import must

_GENERATION = re.compile(r"refs/comfygit-journal/([0-9]+)")
_OTHER = "refs/comfygit-journal-other/"


@attrs.frozen
class OwnGit:
    """HEAD, index and refs of a manifest repository, those of generations left out."""

    head: str
    index: str
    refs: dict[str, str]


@attrs.define(eq=False)
class Owner:
    """What one environment's owner has written. `foreign`: refs of generations that another journal made, all to one commit.

    `sync_met`: whether a sync is under way, and what it has met: the manifest "dirty" or "clean". `half`: the manifest is what a
    restore has left that was killed, and nobody's.
    """

    paths: EnvironmentPaths
    foreign: frozenset[int]
    manifest: bytes
    committed: bytes
    kept: dict[str, bytes | None] = attrs.Factory(dict)
    sync_met: str = ""
    half: bool = False
    own_git: OwnGit = attrs.field(init=False)
    foreign_commit: str = attrs.field(init=False)
    known: dict[str, str] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        """Look at the repository as it is at the beginning."""
        refs = self._refs()
        self.foreign_commit = refs[ref_of(min(self.foreign))]
        self.own_git = self._own_git(refs)

    # ---------------------------------------------------------- writing

    @property
    def manifest_file(self) -> Path:
        """The manifest."""
        return self.paths.cec / "pyproject.toml"

    def write(self, name: str, data: bytes | None) -> None:
        """Write or remove a file that is theirs alone."""
        self.kept[name] = data
        file = self.paths.root / name
        if data is None:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    def write_manifest(self, data: bytes) -> None:
        """Edit the manifest."""
        self.manifest, self.sync_met, self.half = data, "", False
        self.manifest_file.write_bytes(data)

    def commit(self) -> None:
        """Commit everything."""
        git(self.paths.cec, "add", "--all")
        git(self.paths.cec, "commit", "--quiet", "--allow-empty", "--message", "mine")
        self.committed = self.manifest_file.read_bytes()
        self.own_git = self._own_git(self._refs())

    def stage(self) -> None:
        """Put the manifest as it is into the index, and leave it there."""
        git(self.paths.cec, "add", "pyproject.toml")
        self.own_git = self._own_git(self._refs())

    # --------------------------------------------------- what others do

    def sync_begins(self) -> None:
        """Now comfygit-core gets hold of it."""
        self.sync_met = "clean" if self.manifest_file.read_bytes() == self.committed else "dirty"

    def sync_is_over(self) -> None:
        """It has ended, or what a killed one had in hand was brought back."""
        if self.sync_met == "clean":
            self.manifest = self.manifest_file.read_bytes()
        self.sync_met = ""

    def restore_begins(self, event: RestoreStarted) -> None:
        """It was journaled: what is about to be overwritten has to be kept already. One done again looks for itself."""
        saved = self._manifest_in(self._refs()[ref_of(event.saved)])
        must(self.half or saved == self.manifest, "{} names {!r} as saved, not {!r}", event, saved, self.manifest)

    def restored(self, content: str, wanted: str, saved: str) -> None:
        """It has ended well: what was there is kept by one of the two commits, and what is there is the generation's content."""
        kept = {self._manifest_in(wanted), self._manifest_in(saved)}
        must(self.half or self.manifest in kept, "overwritten, and not kept: {!r}", self.manifest)
        must(content_digest(self.paths) == content, "restored, but it has another content than the generation")
        self.manifest, self.sync_met, self.half = self.manifest_file.read_bytes(), "", False

    def _manifest_in(self, commit: str) -> bytes:
        return load(self.paths, commit)[".cec/pyproject.toml"].data

    # ---------------------------------------------------------- checking

    def check(self, generations: tuple[Generation, ...]) -> None:
        """Whether all of it holds, when nothing is under way."""
        name = self.paths.name
        for file, data in self.kept.items():
            must(_bytes(self.paths.root / file) == data, "{}: {} is not what its owner wrote: {!r}", name, file, data)
        found = _bytes(self.manifest_file)
        must(not self.half, "{} is at rest with half of a generation", name)
        must(found == self.manifest, "{}: the manifest is {!r}, not {!r}", name, found, self.manifest)
        refs = self._refs()
        found_git = self._own_git(refs)
        must(found_git == self.own_git, "{}: the owner's git is {}, not {}", name, found_git, self.own_git)
        self._check_foreign(refs)
        for generation in generations:
            if generation.environment == name and generation.kept is not None:
                self._check_kept(generation, generation.kept.commit, refs)

    def _check_foreign(self, refs: dict[str, str]) -> None:
        for number in self.foreign:
            at_home = refs.get(ref_of(number)) == self.foreign_commit
            aside = refs.get(f"{_OTHER}{self.foreign_commit}") == self.foreign_commit and ref_of(number) in refs
            must(at_home or aside, "{}: another journal's generation {} is lost", self.paths.name, number)

    def _check_kept(self, generation: Generation, commit: str, refs: dict[str, str]) -> None:
        must(refs.get(ref_of(generation.generation)) == commit, "{} has no ref", generation)
        if commit not in self.known:
            self.known[commit] = digest_of(load(self.paths, commit))
        must(self.known[commit] == generation.content, "{} keeps another content: {}", generation, self.known[commit])

    def refs_of_generations(self) -> dict[int, str]:
        """The commits that keep this environment's generations."""
        found = {_GENERATION.fullmatch(name): commit for name, commit in self._refs().items()}
        return {int(match[1]): commit for match, commit in found.items() if match}

    def _refs(self) -> dict[str, str]:
        listed = git(self.paths.cec, "for-each-ref", "--format=%(refname) %(objectname)")
        return dict(line.split(" ") for line in listed.splitlines())

    def _own_git(self, refs: dict[str, str]) -> OwnGit:
        own = {name: to for name, to in refs.items() if not (_GENERATION.fullmatch(name) or name.startswith(_OTHER))}
        head = (self.paths.cec / ".git" / "HEAD").read_text()
        return OwnGit(head, git(self.paths.cec, "ls-files", "--stage"), own)


def _bytes(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
