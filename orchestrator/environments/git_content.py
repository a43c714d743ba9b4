"""Content kept in an environment's manifest repository, as commits under refs of our own, and read back from them.

HEAD, branches, index and files are left as they are: blobs are written byte for byte, a tree is made by a temporary
index, and of the refs only those below `refs/comfygit-journal` and `refs/comfygit-journal-other` are ours.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from journal import clock
from journal.clock import S
from orchestrator.environments.content_files import ContentError, Entry, read_content, read_workflows
from orchestrator.environments.content_rules import CEC, is_content
from orchestrator.environments.git_command import Git, git_for
from orchestrator.workspace import EnvironmentPaths

_REFS: Final = "refs/comfygit-journal"
_OTHER_REFS: Final = "refs/comfygit-journal-other"
_TRAILERS: Final = "Comfygit-Environment: {environment}\nComfygit-Journal: {journal}\n"
"""The last lines of a commit's message. Environments may share a repository: one may be a work tree of another's."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_JOURNAL: Final = re.compile(r"[!-~]{1,200}")
_TEMPORARY: Final = "comfygit-journal-"
_LEFT_BEHIND_AFTER_NS: Final = 600 * S  # a capture that takes a tenth of that is killed
_PREFIX: Final = f"{CEC}/"
_SIGNATURE: Final = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "comfygit-journal"), ("EMAIL", "comfygit-journal@localhost"))
}


def ref_of(generation: int) -> str:
    """The ref that keeps the content of a generation."""
    return f"{_REFS}/{generation}"


def keep(paths: EnvironmentPaths, generation: int, journal_id: str, wanted: frozenset[int]) -> str:
    """Keep content and workflows as they are now under the generation's ref; the commit's id.

    Refs of this environment and journal whose generation is not `wanted` are deleted; a ref of this number that others
    made is kept under `refs/comfygit-journal-other/<commit>`. Raises ContentError; then no ref was changed.
    """
    doing = f"keeping the content of generation {generation} of environment {paths.name!r}"
    if generation < 1 or not _JOURNAL.fullmatch(journal_id):
        raise ContentError(
            f"{doing}: {journal_id!r} is no journal's id, or the number is none", "name both as the journal does"
        )
    git = git_for(paths, doing)
    found = {**read_content(paths), **read_workflows(paths)}
    tree = _tree(git, found)
    code, head, _ = git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    parent = ("-p", head.decode("ascii").strip()) if code == 0 else ()
    ours = _TRAILERS.format(environment=paths.name, journal=journal_id).encode("utf-8", "backslashreplace")
    subject = f"Generation {generation} of environment {paths.name}".encode("utf-8", "backslashreplace")
    given = subject + b"\n\nContent and workflows as they were, committed or not.\n\n" + ours
    commit = git.run("commit-tree", tree, *parent, "-F", "-", given=given, environ=_SIGNATURE).decode("ascii").strip()
    updates = _updates(git, generation, commit, ours, wanted)
    git.run("update-ref", "--no-deref", "--stdin", "-z", given=b"".join(updates))
    return commit


def load(paths: EnvironmentPaths, commit: str) -> dict[str, Entry]:
    """The content that `keep` kept under this id, by name, sorted; not the workflows. Raises ContentError."""
    doing = f"reading the content that environment {paths.name!r} had in commit {commit!r}"
    if not _COMMIT.fullmatch(commit):
        raise ContentError(f"{doing}: that is no id of a commit", "take the one that the journal names")
    git = git_for(paths, doing)
    listed = []
    for line in git.run("ls-tree", "-r", "-z", "--full-tree", f"{commit}^{{tree}}").split(b"\0")[:-1]:
        described, _, name = line.partition(b"\t")
        mode, kind, blob = described.decode("ascii").split()
        full_name = f"{_PREFIX}{os.fsdecode(name)}"
        if kind == "blob" and is_content(full_name, comfygit=True):
            listed.append((full_name, mode, blob))
    objects = _objects(git, [blob for _, _, blob in listed])
    missing = next((name for name, _, blob in listed if objects[blob][0] != "blob"), None)
    if missing is not None:
        raise ContentError(f"{doing}: the bytes of {missing!r} are gone", f"look for damage: git -C {paths.cec} fsck")
    return {name: Entry(mode, objects[blob][1]) for name, mode, blob in sorted(listed)}


def _tree(git: Git, found: Mapping[str, Entry]) -> str:
    """In a folder inside of the repository: a capture that is killed leaves it, and the next one finds it there."""
    inside = Path(os.fsdecode(git.run("rev-parse", "--absolute-git-dir").removesuffix(b"\n")))
    _remove_left_behind(inside)
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=inside) as folder:
        blobs = _blobs(git, Path(folder), list(found.values()))
        lines = [
            f"{entry.mode} {blob}\t".encode("ascii") + os.fsencode(name.removeprefix(_PREFIX)) + b"\0"
            for (name, entry), blob in zip(found.items(), blobs, strict=True)
        ]
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git.run("update-index", "-z", "--index-info", given=b"".join(lines), environ=index)
        return git.run("write-tree", environ=index).decode("ascii").strip()


def _remove_left_behind(inside: Path) -> None:
    oldest_ns = clock.read().wall_ns - _LEFT_BEHIND_AFTER_NS
    for folder in inside.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):  # somebody else has just removed it
            if folder.stat().st_mtime_ns < oldest_ns:
                shutil.rmtree(folder)


def _blobs(git: Git, folder: Path, entries: Sequence[Entry]) -> list[str]:
    """The ids, in order. Git reads copies that have numbers for names: nobody changes those, and none holds a newline."""
    files = [folder / str(number) for number in range(len(entries))]
    for file, entry in zip(files, entries, strict=True):
        file.write_bytes(entry.data)
    given = b"".join(os.fsencode(file) + b"\n" for file in files)
    return git.run("hash-object", "-w", "--no-filters", "--stdin-paths", given=given).decode("ascii").split()


def _updates(git: Git, generation: int, commit: str, ours: bytes, wanted: frozenset[int]) -> Iterator[bytes]:
    """What `update-ref` is told, all or nothing."""
    listed = git.run("for-each-ref", "--format=%(objectname) %(refname)", _REFS).decode("utf-8", "surrogateescape")
    refs = {name: found for found, _, name in (line.partition(" ") for line in listed.splitlines())}
    objects = _objects(git, sorted(set(refs.values())))
    before = refs.pop(ref_of(generation), None)
    if before is not None and objects[before][0] and not _is_of(objects[before], ours):
        yield f"update {_OTHER_REFS}/{before}\0{before}\0\0".encode("ascii")
    yield f"update {ref_of(generation)}\0{commit}\0\0".encode("ascii")
    for name, found in refs.items():
        number = name.removeprefix(f"{_REFS}/")
        if number.isdecimal() and int(number) not in wanted and _is_of(objects[found], ours):
            yield f"delete {name}\0{found}\0".encode("ascii")


def _is_of(found: tuple[str, bytes], ours: bytes) -> bool:
    """Whether it is a commit that this environment and journal made: its last lines say so."""
    kind, data = found
    return kind == "commit" and data.endswith(b"\n\n" + ours)


def _objects(git: Git, ids: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """Kind and bytes of each object by its id; the kind is "" for one that is not there."""
    said = git.run("cat-file", "--batch", given="".join(f"{one}\n" for one in ids).encode("ascii"))
    found, at = {}, 0
    for one in ids:
        end = said.index(b"\n", at)
        _, kind, *size = said[at:end].decode("ascii").split(" ")
        length = int(size[0]) if size else -1
        found[one] = (kind, said[end + 1 : end + 1 + length]) if size else ("", b"")
        at = end + 2 + length
    return found
