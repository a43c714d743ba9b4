"""Which checkouts hold what cannot be fetched again, as git tells."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.environments.working_copies import may_hold_own_work
from tests.helpers.content_fixtures import git, write

REMOTE = "origin/HEAD"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    origin = tmp_path / "origin"
    write(origin / "node.py", "1")
    write(origin / ".gitignore", "__pycache__/\n")
    git(origin, "init", "--quiet")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "-m", "1")
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


def commit(clone: Path) -> None:
    write(clone / "node.py", "mine")
    git(clone, "commit", "--quiet", "--all", "-m", "mine")


def unwatched(how: str) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        git(clone, "update-index", how, "node.py")
        write(clone / "node.py", "mine")

    return change


def tagged(clone: Path) -> None:
    commit(clone)
    git(clone, "tag", "mine")
    git(clone, "reset", "--quiet", "--hard", REMOTE)
    git(clone, "reflog", "expire", "--expire=now", "--all")


def other_ref(clone: Path) -> None:
    commit(clone)
    git(clone, "update-ref", "refs/wip/mine", "HEAD")
    git(clone, "reset", "--quiet", "--hard", REMOTE)
    git(clone, "reflog", "expire", "--expire=now", "--all")


def only_in_the_reflog(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "--detach")
    commit(clone)
    git(clone, "checkout", "--quiet", "-")


def stashed(clone: Path) -> None:
    write(clone / "node.py", "mine")
    git(clone, "stash", "--quiet")


def excluded(clone: Path) -> None:
    write(clone / ".git" / "info" / "exclude", "weights\n")
    write(clone / "weights", "mine")


def hidden_by_settings(clone: Path) -> None:
    git(clone, "config", "status.showUntrackedFiles", "no")
    write(clone / "mine.py", "mine")


def submodule(clone: Path) -> None:
    git(clone, "-c", "protocol.file.allow=always", "clone", "--quiet", str(clone.parent / "origin"), "inner")
    git(clone, "add", "inner")
    git(clone, "commit", "--quiet", "-m", "inner")
    git(clone, "push", "--quiet", "origin", "HEAD:refs/heads/inner")


def worktree(clone: Path) -> None:
    git(clone, "worktree", "add", "--quiet", "--detach", str(clone.parent / "elsewhere"))


OWN_WORK = {
    "skip-worktree": unwatched("--skip-worktree"),
    "assume-unchanged": unwatched("--assume-unchanged"),
    "tag": tagged,
    "other ref": other_ref,
    "reflog": only_in_the_reflog,
    "commit": commit,
    "stash": stashed,
    "edit": lambda clone: write(clone / "node.py", "mine"),
    "notes among byte code": lambda clone: write(clone / "__pycache__" / "notes.txt", "mine"),
    "byte code without a source": lambda clone: write(clone / "mine.pyc", "mine"),
    "excluded": excluded,
    "untracked, not shown": hidden_by_settings,
    "submodule": submodule,
    "worktree": worktree,
    "no repository": lambda clone: shutil.rmtree(clone / ".git"),
}


@pytest.mark.parametrize("what", OWN_WORK)
def test_what_somebody_did_in_a_checkout_is_own_work(clone, what):
    OWN_WORK[what](clone)
    assert may_hold_own_work(clone)


def test_a_clone_and_its_byte_code_are_none(clone):
    assert not may_hold_own_work(clone)
    write(clone / "__pycache__" / "node.cpython-311.pyc")
    write(clone / "inner" / "__pycache__" / "node.cpython-311.pyc")
    assert not may_hold_own_work(clone)


def test_what_was_pulled_and_checked_out_is_none(clone):
    origin = clone.parent / "origin"
    commit(origin)
    git(clone, "pull", "--quiet")
    git(clone, "checkout", "--quiet", "HEAD~1")
    assert not may_hold_own_work(clone)


def test_a_repository_above_does_not_speak_for_a_broken_one(clone):
    """Half a clone whose files a repository further up (that of ComfyUI) has, and has committed."""
    above = clone.parent
    shutil.rmtree(clone / ".git")
    git(above, "init", "--quiet")
    git(above, "remote", "add", "origin", str(above / "remote"))
    git(above, "init", "--quiet", "--bare", "remote")
    write(above / ".gitignore", "/remote/\n/origin/\n")
    git(above, "add", ".gitignore", "clone")
    git(above, "commit", "--quiet", "-m", "all")
    git(above, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    git(above, "fetch", "--quiet", "origin")
    shutil.rmtree(above / "remote")
    shutil.rmtree(above / "origin")
    (clone / ".git").mkdir()
    assert may_hold_own_work(clone)
