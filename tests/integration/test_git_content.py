"""Content kept in the manifest repository by real git, and that nobody who works in that repository notices."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.environments.content import ContentError, Entry, read_content, write_back
from orchestrator.environments.content_files import EXECUTABLE, FILE, LINK
from orchestrator.environments.content_rules import is_content
from orchestrator.environments.git_content import keep, load, ref_of
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import comfygit_environment, everything, git, write

OURS, OTHERS = "a" * 32, "b" * 32


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return comfygit_environment(tmp_path_factory.mktemp("built") / "one").root


@pytest.fixture
def paths(built: Path, tmp_path: Path) -> EnvironmentPaths:
    shutil.copytree(built, tmp_path / "one", symlinks=True)
    return EnvironmentPaths("one", tmp_path / "one")


def refs(paths: EnvironmentPaths) -> dict[str, str]:
    lines = git(paths.cec, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    found = [line.split(" ") for line in lines if "comfygit-journal" in line]
    return {name.removeprefix("refs/"): commit for name, commit in found}


def numbers(paths: EnvironmentPaths) -> set[str]:
    return {name.removeprefix("comfygit-journal/") for name in refs(paths)}


def test_the_ref_is_named_after_the_generation():
    assert ref_of(41) == "refs/comfygit-journal/41"


def test_what_is_kept_comes_back_with_what_git_ignores_and_without_the_workflows(paths):
    commit = keep(paths, 7, OURS, frozenset())
    assert refs(paths) == {"comfygit-journal/7": commit}
    assert load(paths, commit) == read_content(paths)
    names = git(paths.cec, "ls-tree", "-r", "--name-only", commit).splitlines()
    assert {"uv.lock", ".pytorch-backend", "workflows/mine.json", "workflow_api/mine.json"} < set(names)
    assert not {"half.tmp", "logs/a.log"} & set(names)


def test_what_is_private_by_its_name_gets_into_no_object_and_outlives_a_restore(paths):
    first = read_content(paths)
    for name in ("secret.env", "workflows/.env", "id_rsa"):
        write(paths.cec / name, f"private {name}")
    commit = keep(paths, 7, OURS, frozenset())
    objects = git(paths.cec, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert not any(git(paths.cec, "cat-file", "-p", one).startswith("private") for one in objects)
    write(paths.cec / "secret.env", "private, newer")
    write_back(paths, load(paths, commit))
    assert read_content(paths) == first
    assert (paths.cec / "secret.env").read_text() == "private, newer"
    git(paths.cec, "add", "--force", "secret.env")
    git(paths.cec, "commit", "--quiet", "-m", "as somebody may")
    write(paths.cec / "secret.env", "private, newest")
    write_back(paths, load(paths, git(paths.cec, "rev-parse", "HEAD")))
    assert (paths.cec / "secret.env").read_text() == "private, newest"


def test_the_commit_says_what_it_is_and_stands_on_head(paths):
    commit = keep(paths, 7, OURS, frozenset())
    author, parent, body = git(paths.cec, "log", "-1", "--format=%an/%cn%x00%P%x00%B", commit).split("\0")
    assert author == "comfygit-journal/comfygit-journal"
    assert parent == git(paths.cec, "rev-parse", "HEAD")
    assert body.startswith("Generation 7 of environment one\n")
    assert body.rstrip().endswith(f"\n\nComfygit-Environment: one\nComfygit-Journal: {OURS}")


def test_nothing_but_our_ref_and_objects_is_touched(paths):
    git(paths.cec, "config", "core.splitIndex", "true")
    write(paths.cec / "staged.toml", "z = 1\n")
    git(paths.cec, "add", "staged.toml")
    write(paths.cec / "pyproject.toml", "edited")
    status = git(paths.cec, "status", "--porcelain", "--ignored")
    before, times = everything(paths.root), times_in(paths)
    commit = keep(paths, 7, OURS, frozenset())
    keep(paths, 7, OTHERS, frozenset())
    load(paths, commit)
    assert everything(paths.root) == before
    assert times_in(paths) == times
    assert git(paths.cec, "status", "--porcelain", "--ignored") == status


def times_in(paths: EnvironmentPaths) -> dict[str, int]:
    places = [".git/HEAD", ".git/index", ".git/config", ".git/refs/heads", ".git/refs/heads/main", "pyproject.toml"]
    return {place: (paths.cec / place).stat().st_mtime_ns for place in places}


def test_bytes_are_kept_whatever_filters_and_settings_say(paths):
    git(paths.cec, "config", "core.autocrlf", "true")
    git(paths.cec, "config", "filter.shout.clean", "tr a-z A-Z")
    git(paths.cec, "config", "commit.gpgSign", "true")
    git(paths.cec, "config", "core.safecrlf", "true")
    write(paths.cec / ".gitattributes", "* text=auto filter=shout working-tree-encoding=UTF-16\n*.lock ident\n")
    write(paths.cec / "mixed.toml", b"a\r\nb\nc\r\xff\x00$Id$")
    assert load(paths, keep(paths, 7, OURS, frozenset())) == read_content(paths)


def test_no_hook_of_the_repository_runs_and_no_variable_from_outside_counts(paths, tmp_path, monkeypatch):
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc", "fsmonitor"):
        write(paths.cec / ".git" / "hooks" / hook, f"#!/bin/sh\ntouch {tmp_path}/{hook}.ran\n", executable=True)
    git(paths.cec, "config", "core.fsmonitor", str(paths.cec / ".git" / "hooks" / "fsmonitor"))
    misleading = {"DIR": "/nowhere", "INDEX_FILE": f"{tmp_path}/index", "AUTHOR_NAME": "x", "CONFIG_COUNT": "nonsense"}
    for name, value in misleading.items():
        monkeypatch.setenv(f"GIT_{name}", value)
    commit = keep(paths, 7, OURS, frozenset())
    assert load(paths, commit) == read_content(paths)
    assert not [*tmp_path.glob("*.ran"), *tmp_path.glob("index")]


def test_refs_of_this_environment_and_journal_that_are_not_wanted_go_and_those_of_others_stay(paths):
    for generation in (3, 4):
        keep(paths, generation, OTHERS, frozenset({3, 4}))
    git(paths.cec, "update-ref", "refs/comfygit-journal/name", "HEAD")
    git(paths.cec, "update-ref", "refs/comfygit-journal/9", "HEAD")
    for generation in (5, 6, 7):
        keep(paths, generation, OURS, frozenset({5, 6}))
    assert numbers(paths) == {"3", "4", "5", "6", "7", "9", "name"}
    keep(paths, 8, OURS, frozenset({6, 99}))
    assert numbers(paths) == {"3", "4", "6", "8", "9", "name"}


@pytest.mark.parametrize("shared_by", ["a work tree", "a link"])
def test_environments_that_share_a_repository_keep_their_own_refs(paths, tmp_path, shared_by):
    other = EnvironmentPaths("two", tmp_path / "two")
    if shared_by == "a work tree":
        git(paths.cec, "worktree", "add", "--quiet", "-b", "two", str(other.cec))
    else:
        other.root.mkdir()
        other.cec.symlink_to(paths.cec)
    write(other.cec / "pyproject.toml", "edited, and nowhere else")
    kept, content = keep(other, 7, OURS, frozenset({7})), read_content(other)
    mine = keep(paths, 9, OURS, frozenset({9}))
    assert refs(paths) == {"comfygit-journal/7": kept, "comfygit-journal/9": mine}
    git(paths.cec, "gc", "--quiet", "--prune=now")
    assert load(other, kept) == content
    newer = keep(other, 10, OURS, frozenset({10}))
    assert refs(paths) == {"comfygit-journal/9": mine, "comfygit-journal/10": newer}


def test_a_ref_of_the_same_number_is_overwritten_when_ours_and_set_aside_when_not(paths):
    first = keep(paths, 7, OURS, frozenset())
    write(paths.cec / "uv.lock", "version = 2")
    second = keep(paths, 7, OURS, frozenset())
    assert first != second
    assert refs(paths) == {"comfygit-journal/7": second}
    third = keep(paths, 7, OTHERS, frozenset())
    assert refs(paths) == {"comfygit-journal/7": third, f"comfygit-journal-other/{second}": second}
    head = git(paths.cec, "rev-parse", "HEAD")
    git(paths.cec, "update-ref", "refs/comfygit-journal/8", head)
    keep(paths, 8, OURS, frozenset())
    assert refs(paths)[f"comfygit-journal-other/{head}"] == head


def test_a_ref_that_stands_for_a_branch_does_not_move_the_branch(paths):
    head = git(paths.cec, "rev-parse", "HEAD")
    git(paths.cec, "symbolic-ref", "refs/comfygit-journal/7", "refs/heads/main")
    git(paths.cec, "symbolic-ref", "refs/comfygit-journal/6", "refs/heads/main")
    commit = keep(paths, 7, OURS, frozenset())
    assert git(paths.cec, "rev-parse", "main") == head
    assert refs(paths)["comfygit-journal/7"] == commit


def test_a_ref_to_an_object_that_is_gone_is_in_nobodys_way(paths):
    write(paths.cec / ".git" / "refs" / "comfygit-journal" / "7", "1" * 40 + "\n")
    write(paths.cec / ".git" / "refs" / "comfygit-journal" / "6", "1" * 40 + "\n")
    commit = keep(paths, 7, OURS, frozenset())
    assert load(paths, commit) == read_content(paths)


def test_what_is_kept_outlives_gc_and_a_deleted_branch(paths):
    commit = keep(paths, 7, OURS, frozenset())
    kept = read_content(paths)
    git(paths.cec, "checkout", "--quiet", "--orphan", "other")
    git(paths.cec, "branch", "-D", "main")
    git(paths.cec, "gc", "--quiet", "--prune=now")
    assert load(paths, commit) == kept


def test_a_repository_without_a_commit_gives_one_without_a_parent(tmp_path):
    paths = comfygit_environment(tmp_path / "one", repository=False)
    git(paths.cec, "init", "--quiet", "--template=")
    commit = keep(paths, 7, OURS, frozenset())
    assert git(paths.cec, "log", "-1", "--format=%P", commit) == ""
    assert load(paths, commit) == read_content(paths)
    assert not (paths.cec / ".git" / "refs" / "heads" / "main").exists()


def test_an_environment_without_content_has_an_empty_one(tmp_path):
    paths = EnvironmentPaths("one", tmp_path / "one")
    paths.cec.mkdir(parents=True)
    git(paths.cec, "init", "--quiet", "--template=")
    assert load(paths, keep(paths, 7, OURS, frozenset())) == {}


def test_a_worktree_and_another_kind_of_hash_are_repositories_too(tmp_path):
    paths = comfygit_environment(tmp_path / "one", repository=False)
    git(paths.cec, "init", "--quiet", "--template=", "--object-format=sha256")
    commit = keep(paths, 7, OURS, frozenset())
    assert len(commit) == 64
    assert load(paths, commit) == read_content(paths)
    git(paths.cec, "update-ref", "refs/heads/main", commit)
    other = EnvironmentPaths("two", tmp_path / "two")
    git(paths.cec, "worktree", "add", "--quiet", "-b", "two", str(other.cec))
    assert load(other, keep(other, 8, OURS, frozenset())) == read_content(other)


def test_nested_repositories_and_links_in_a_commit_are_no_content(paths):
    git(paths.cec, "clone", "--quiet", str(paths.cec), str(paths.cec / "nested"))
    git(paths.cec, "add", "nested")
    git(paths.cec, "commit", "--quiet", "-m", "with a submodule")
    names = load(paths, git(paths.cec, "rev-parse", "HEAD")).keys()
    assert ".cec/nested" not in names
    assert ".cec/workflows/mine.json" not in names
    assert ".cec/pyproject.toml" in names


# What may be wrong


def refused(paths: EnvironmentPaths, commit: str = "0" * 40) -> list[ContentError]:
    before = everything(paths.root)
    found = []
    for attempt in (lambda: keep(paths, 7, OURS, frozenset()), lambda: load(paths, commit)):
        with pytest.raises(ContentError) as caught:
            attempt()
        assert "'one'" in str(caught.value)
        assert caught.value.hint
        found.append(caught.value)
    assert everything(paths.root) == before
    return found


def test_without_git_that_is_said(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for error in refused(paths):
        assert "there is no git on this machine" in str(error)
        assert "install git" in error.hint


@pytest.mark.parametrize("around", [False, True], ids=["none around", "one around"])
def test_without_a_repository_that_is_said_and_none_around_it_is_taken(tmp_path, around):
    if around:
        git(tmp_path, "init", "--quiet", "--template=")
    paths = comfygit_environment(tmp_path / "one", repository=False)
    for error in refused(paths):
        assert f"{paths.cec} is not a git repository" in str(error)
    assert not around or git(tmp_path, "for-each-ref") == ""


@pytest.mark.parametrize("around", [False, True], ids=["none around", "one around"])
def test_a_damaged_repository_is_said(paths, around):
    if around:
        git(paths.root, "init", "--quiet", "--template=")
    (paths.cec / ".git" / "HEAD").write_bytes(b"\xff\xfe nonsense")
    for error in refused(paths):
        assert "not a git repository" in str(error)
        assert "damaged" in error.hint


def test_a_commit_that_is_gone_or_none_is_said(paths):
    for commit in ("0" * 40, "HEAD", "--help", "", "7"):
        with pytest.raises(ContentError, match="'one'"):
            load(paths, commit)


def test_bytes_that_are_gone_are_said_and_named(paths):
    commit = keep(paths, 7, OURS, frozenset())
    blob = git(paths.cec, "rev-parse", f"{commit}:uv.lock")
    (paths.cec / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(ContentError, match=r"'\.cec/uv\.lock'"):
        load(paths, commit)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_a_repository_of_another_user_is_said_with_what_to_do(paths, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (paths.cec, paths.cec / ".git"):
        os.chown(path, 12345, 12345)
    for error in refused(paths):
        assert "dubious ownership" in str(error)
        assert f"safe.directory {paths.cec}" in error.hint


def test_a_secret_in_what_git_says_is_masked(paths):
    write(paths.cec / ".git" / "config", "[core]\n\trepositoryformatversion = 0\n[broken token=hf_1234567890abcdef\n")
    for error in refused(paths):
        assert "hf_1234567890abcdef" not in f"{error} {error.hint}"


def test_a_locked_ref_changes_nothing(paths):
    commit = keep(paths, 7, OURS, frozenset())
    write(paths.cec / ".git" / "refs" / "comfygit-journal" / "8.lock")
    with pytest.raises(ContentError, match="generation 8"):
        keep(paths, 8, OURS, frozenset())
    assert refs(paths) == {"comfygit-journal/7": commit}


def test_a_git_that_hangs_is_ended(paths, tmp_path, monkeypatch):
    write(tmp_path / "bin" / "git", "#!/bin/sh\nexec tail -f /dev/null\n", executable=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("orchestrator.environments.git_command.TIMEOUT_S", 0.3)
    for error in refused(paths):
        assert "was not done in 0.3 s" in str(error)


@pytest.mark.parametrize(("generation", "journal"), [(0, OURS), (-1, OURS), (1, ""), (1, "a\nb"), (1, "a b")])
def test_a_number_or_a_journal_that_is_none_is_refused(paths, generation, journal):
    with pytest.raises(ContentError):
        keep(paths, generation, journal, frozenset())
    assert refs(paths) == {}


# Any names, any bytes

COMPONENTS = st.one_of(
    st.sampled_from(
        ["a", "b", "-rf", "--help", '"q"', " ", "a b", "ü", "\n", "a\nb", "\t", "\\", "git~1", "*", "\udcff"]
    ),
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=8),
)
DATA = st.one_of(st.sampled_from([b"", b"\r\n", b"a\r\nb\n", b"\0\xff", b"$Id$"]), st.binary(max_size=64))
ENTRIES = st.one_of(
    st.builds(Entry, st.sampled_from([FILE, EXECUTABLE]), DATA),
    st.builds(Entry, st.just(LINK), st.sampled_from([b"a", b"../..", b"/etc", b"no where\n", b"-x", b"\xff"])),
)


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Entry]:
    """A content that can be: no name is another's folder."""
    found: dict[str, Entry] = {}
    for parts in draw(st.lists(st.lists(COMPONENTS, min_size=1, max_size=3), max_size=6)):
        name = "/".join([".cec", *parts])
        if not is_content(name, comfygit=True) or {".", ".."} & set(parts):
            continue
        if not any(name == one or name.startswith(f"{one}/") or one.startswith(f"{name}/") for one in found):
            found[name] = draw(ENTRIES)
    return found


@given(first=contents(), second=contents())
@example(first={".cec/a": Entry(FILE, b"")}, second={".cec/a/b": Entry(LINK, b"..")})
@example(first={".cec/a": Entry(LINK, b"b"), ".cec/b/c": Entry(FILE, b"")}, second={".cec/a/c": Entry(FILE, b"x")})
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.timeout(120)
def test_what_was_kept_comes_back_byte_for_byte_after_any_change(built, first, second):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(built, Path(folder, "one"), symlinks=True)
        paths = EnvironmentPaths("one", Path(folder, "one"))
        write_back(paths, first)
        assert read_content(paths) == first
        before = everything(paths.root)
        commit = keep(paths, 7, OURS, frozenset())
        assert load(paths, commit) == first
        write_back(paths, second)
        assert read_content(paths) == second
        write_back(paths, load(paths, commit))
        assert read_content(paths) == first
        assert everything(paths.root) == before


def test_what_a_killed_capture_has_left_is_in_the_repository_and_goes_with_the_next_one(paths):
    inside = paths.cec / ".git"
    old, young = inside / "comfygit-journal-old", inside / "comfygit-journal-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "0").write_text("a copy")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    keep(paths, 7, "a" * 32, frozenset())
    assert (old.exists(), young.exists()) == (False, True)
    assert list(inside.glob("comfygit-journal-*")) == [young]
    assert not {}
