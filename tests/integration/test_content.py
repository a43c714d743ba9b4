"""What is content, and that writing it back touches nothing else."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from orchestrator.environments.content import (
    Changes,
    ContentError,
    Entry,
    changes,
    content_digest,
    content_names,
    read_content,
    write_back,
)
from orchestrator.environments.content_files import (
    EXECUTABLE,
    FILE,
    LINK,
    MOST_FILE_BYTES,
    MOST_FILES,
    digest_of,
    read_workflows,
)
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import CONTENT, comfygit_environment, everything, git, write
from tests.helpers.mounts import REMOUNTED_READ_ONLY, needs_mounts, run_on_tmpfs


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    return comfygit_environment(tmp_path / "environments" / "one", repository=False)


@pytest.fixture
def plain(tmp_path: Path) -> EnvironmentPaths:
    paths = EnvironmentPaths("two", tmp_path / "environments" / "two")
    for name in ("pyproject.toml", "uv.lock", ".pytorch-backend", "README.md"):
        write(paths.root / name, name)
    return paths


PASSING = [
    "backups/custom_nodes/x.py",
    "staging/x",
    "metadata/x",
    "logs/x",
    ".comfygit-tmp/x/pyproject.toml",
    ".venv-probe-a1/pyvenv.cfg",
    "__pycache__/x.py",
    "nodes/__pycache__/x.py",
    "nodes/x.pyc",
    "nodes/x.tmp",
    "nodes/x.bak",
    ".complete",
    "comfyui_builtins.json",
    "comfyui_folder_paths.json",
    "comfyui_model_loaders.json",
    ".git/HEAD",
    ".GIT/HEAD",
    "workflows/more.json",
    "Workflows/more.json",
    "workflow_api/more.json",
    "nested/.git/HEAD",
    "nested/pyproject.toml",
    ".pyproject.toml.swp",
    "nodes/.uv.lock.SWO",
    "pyproject.toml~",
    ".#pyproject.toml",
    "#pyproject.toml#",
    ".env",
    ".env.local",
    ".ENVRC",
    "prod.env",
    "nodes/.Env/x",
    "tls/server.pem",
    "server.KEY",
    "x.p12",
    "id_rsa",
    "id_ed25519.pub",
    ".netrc",
    ".git-credentials",
    "my_Credentials.json",
    "client_secret.json",
    "Secrets/anything.toml",
    "hf.token",
]


def test_content_is_what_lies_below_the_manifest_folder_ignored_by_git_or_not(paths):
    assert content_names(paths) == CONTENT == tuple(read_content(paths))


@pytest.mark.parametrize("name", PASSING)
def test_what_is_generated_or_the_users_is_not_content(paths, name):
    write(paths.cec / "nested" / ".git" / "config")
    before = content_digest(paths)
    write(paths.cec / name, "x")
    assert content_names(paths) == CONTENT
    assert content_digest(paths) == before


@pytest.mark.parametrize(
    "name", ["environment.toml", "env", "keys.toml", "tokens", "monkey", "a~b", "hf.token.toml", "a#b"]
)
def test_what_only_sounds_private_is_content(paths, name):
    write(paths.cec / name, "x")
    assert f".cec/{name}" in content_names(paths)


def test_content_of_a_plain_folder_is_three_files(plain):
    assert content_names(plain) == (".pytorch-backend", "pyproject.toml", "uv.lock")
    (plain.root / "uv.lock").unlink()
    assert content_names(plain) == (".pytorch-backend", "pyproject.toml")


def test_that_a_manifest_can_be_executed_means_nothing_in_a_plain_folder(plain):
    before = content_digest(plain)
    (plain.root / "pyproject.toml").chmod(0o755)
    assert content_digest(plain) == before


def test_links_are_content_as_links_and_pipes_are_none(paths, tmp_path):
    write(tmp_path / "outside" / "x.toml", "far")
    (paths.cec / "folder").symlink_to(tmp_path / "outside")
    (paths.cec / "file").symlink_to("pyproject.toml")
    os.mkfifo(paths.cec / "pipe")
    found = read_content(paths)
    assert found[".cec/folder"] == Entry(LINK, os.fsencode(tmp_path / "outside"))
    assert found[".cec/file"] == Entry(LINK, b"pyproject.toml")
    assert found.keys() == {*CONTENT, ".cec/folder", ".cec/file"}


@pytest.mark.parametrize(
    "change",
    [
        lambda cec: write(cec / "uv.lock", "version = 2\n"),
        lambda cec: write(cec / "new.toml"),
        lambda cec: (cec / "uv.lock").unlink(),
        lambda cec: (cec / "uv.lock").rename(cec / "uv2.lock"),
        lambda cec: (cec / "nodes" / "setup.sh").chmod(0o644),
        lambda cec: ((cec / "uv.lock").unlink(), (cec / "uv.lock").symlink_to("version = 1\n")),
    ],
)
def test_the_digest_changes_with_names_bytes_and_modes(paths, change):
    before = content_digest(paths)
    assert before == digest_of(read_content(paths))
    change(paths.cec)
    assert content_digest(paths) not in {"", before}
    assert content_digest(paths) == digest_of(read_content(paths))


def test_what_cannot_be_read_has_no_digest(plain, tmp_path):
    (plain.root / "uv.lock").unlink()
    (plain.root / "uv.lock").mkdir()
    assert content_digest(plain) == ""
    with pytest.raises(ContentError, match="'two'"):
        read_content(plain)
    assert content_digest(EnvironmentPaths("gone", tmp_path / "gone")) == ""


def too_much(paths: EnvironmentPaths, what: str) -> str:
    """Its name."""
    cec = paths.cec if paths.is_comfygit else paths.root
    if what == "files":
        for number in range(MOST_FILES):
            write(cec / "more" / f"{number}")
        return "more than 5000 files"
    sizes = [1 << 40] if what == "one file" else [MOST_FILE_BYTES - 1] * 5
    for number, size in enumerate(sizes):
        write(cec / f"{number}.bin")
        os.truncate(cec / f"{number}.bin", size)
    return r"'\.cec/0\.bin' has 1099511627776 bytes; .* 16777216" if what == "one file" else "67108864 together"


@pytest.mark.parametrize("what", ["one file", "together", "files"])
def test_what_is_too_large_or_too_much_is_not_content_and_not_read(paths, what):
    said = too_much(paths, what)
    assert content_digest(paths) == ""
    for attempt in (read_content, content_names, lambda paths: changes(paths, {})):
        with pytest.raises(ContentError, match=said) as caught:
            attempt(paths)
        assert str(paths.cec) in caught.value.hint


def test_a_plain_manifest_that_is_too_large_is_not_read(plain):
    os.truncate(plain.root / "uv.lock", 1 << 40)
    assert content_digest(plain) == ""
    with pytest.raises(ContentError, match=r"'uv\.lock' has 1099511627776 bytes"):
        read_content(plain)


def test_workflows_that_are_too_large_or_too_much_are_left_out(paths):
    folder = paths.cec / "workflows"
    for name, size in {"a": MOST_FILE_BYTES + 1, **dict.fromkeys("bcdef", MOST_FILE_BYTES - 1), "g": 5}.items():
        write(folder / name)
        os.truncate(folder / name, size)
    assert {name.rpartition("/")[2] for name in read_workflows(paths)} == {"b", "c", "d", "e", "mine.json"}
    assert content_digest(paths) != ""


def test_what_vanishes_while_it_is_read_is_passed_over(paths):
    digest, over = content_digest(paths), threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(5):
                write(paths.cec / "passing" / f"{number}" / "x", "x")
            shutil.rmtree(paths.cec / "passing", ignore_errors=True)

    busy = threading.Thread(target=churn)
    busy.start()
    try:
        for _ in range(200):
            assert content_digest(paths) != ""
            assert set(CONTENT) <= read_content(paths).keys()
    finally:
        over.set()
        busy.join()
    shutil.rmtree(paths.cec / "passing", ignore_errors=True)
    assert content_digest(paths) == digest


def test_workflows_are_read_apart_and_not_through_links(paths, tmp_path):
    write(paths.cec / "workflows" / ".env", "TOKEN=x")
    assert read_workflows(paths).keys() == {".cec/workflows/mine.json", ".cec/workflow_api/mine.json"}
    (paths.cec / "workflow_api" / "mine.json").unlink()
    (paths.cec / "workflow_api").rmdir()
    (paths.cec / "workflow_api").symlink_to(paths.cec / "nodes")
    assert read_workflows(paths).keys() == {".cec/workflows/mine.json"}


def test_writing_back_says_what_it_did_and_a_second_time_does_nothing(paths):
    wanted = read_content(paths)
    write(paths.cec / "uv.lock", "broken")
    write(paths.cec / "new" / "deep" / "x.toml", "")
    (paths.cec / "staged.toml").unlink()
    (paths.cec / "nodes" / "setup.sh").chmod(0o644)
    expected = Changes((".cec/nodes/setup.sh", ".cec/staged.toml", ".cec/uv.lock"), (".cec/new/deep/x.toml",))
    assert changes(paths, wanted) == expected
    assert read_content(paths) != wanted
    assert write_back(paths, wanted) == expected
    assert read_content(paths) == wanted
    assert not (paths.cec / "new").exists()
    assert write_back(paths, wanted) == Changes((), ())


def test_everything_else_stays_byte_for_byte(paths):
    wanted = read_content(paths)
    for name in PASSING:
        write(paths.cec / name, name)
    write(paths.comfyui / "custom_nodes" / "mine" / "__init__.py", "untracked")
    write(paths.cec / "workflows" / "mine.json", "edited")
    before = everything(paths.root)
    write_back(paths, {name: Entry(FILE, b"") for name in wanted})
    write_back(paths, {})
    write_back(paths, wanted)
    after = everything(paths.root)
    assert {name: after.pop(name)[2] for name in CONTENT} == {name: before.pop(name)[2] for name in CONTENT}
    assert after == before


def test_permissions_are_kept_but_for_the_executable_bit(paths):
    wanted = read_content(paths)
    (paths.cec / "uv.lock").chmod(0o600)
    write(paths.cec / "uv.lock", "broken")
    (paths.cec / "nodes" / "setup.sh").chmod(0o640)
    write_back(paths, wanted)
    assert (paths.cec / "uv.lock").stat().st_mode & 0o777 == 0o600
    assert (paths.cec / "nodes" / "setup.sh").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("gone", ["file", "folder", "replaced by a link"])
def test_what_was_deleted_comes_back_for_its_owner_only(paths, gone):
    script, file = paths.cec / "nodes" / "setup.sh", paths.cec / "nodes" / "x.toml"
    write(file, "x")
    file.chmod(0o600)
    wanted = read_content(paths)
    file.unlink()
    script.unlink()
    if gone == "folder":
        file.parent.rmdir()
    elif gone == "replaced by a link":
        script.symlink_to(paths.cec / "pyproject.toml")
    write_back(paths, wanted)
    assert [path.stat().st_mode & 0o777 for path in (file, script)] == [0o600, 0o700]


def test_a_file_is_replaced_and_not_written_into(paths):
    """Whoever has it open keeps what it was; a link is replaced and not followed."""
    wanted = {**read_content(paths), ".cec/uv.lock": Entry(FILE, b"new")}
    with (paths.cec / "uv.lock").open("rb") as opened:
        write_back(paths, wanted)
        assert opened.read() == b"version = 1\n"
    (paths.cec / "uv.lock").unlink()
    write(paths.root / "elsewhere", "stays")
    (paths.cec / "uv.lock").symlink_to(paths.root / "elsewhere")
    write_back(paths, wanted)
    assert (paths.cec / "uv.lock").read_bytes() == b"new"
    assert (paths.root / "elsewhere").read_bytes() == b"stays"


def test_a_file_becomes_a_folder_a_link_a_file_and_the_other_way_round(paths, tmp_path):
    first = read_content(paths)
    second = {
        ".cec/nodes": Entry(FILE, b"now a file"),
        ".cec/uv.lock/inside": Entry(FILE, b"now a folder"),
        ".cec/link/below": Entry(EXECUTABLE, b"x"),
        ".cec/staged.toml": Entry(LINK, b"uv.lock"),
    }
    write(tmp_path / "outside" / "below" / "deep", "stays")
    (paths.cec / "link").symlink_to(tmp_path / "outside")
    (paths.cec / "overlays" / "empty" / "below").mkdir(parents=True)
    write_back(paths, second)
    assert read_content(paths) == second
    write_back(paths, first)
    assert read_content(paths) == first
    write_back(paths, {**first, ".cec/overlays/empty": Entry(FILE, b"")})
    assert (paths.cec / "overlays" / "empty").is_file()
    assert everything(tmp_path / "outside") == {
        "below": everything(tmp_path / "outside")["below"],
        "below/deep": ("file", 0o644, b"stays"),
    }


REFUSED = [
    "",
    "/etc/passwd",
    "../x",
    ".cec/../x",
    ".cec/./x",
    ".cec//x",
    ".cec/x/",
    ".cec",
    ".cec/x\0y",
    "ComfyUI/main.py",
    "pyproject.toml",
    ".cec/.git",
    ".cec/.git/config",
    ".cec/.GIT/config",
    ".cec/nodes/.git/hooks/x",
    *[f".cec/{name}" for name in PASSING if not name.startswith("nested")],
]


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_is_not_contents_is_refused_before_anything_is_written(paths, name):
    before = everything(paths.root)
    with pytest.raises(ContentError, match="nothing was changed") as caught:
        write_back(paths, {".cec/pyproject.toml": Entry(FILE, b"new"), name: Entry(FILE, b"x")})
    assert caught.value.hint
    assert everything(paths.root) == before


@pytest.mark.parametrize("name", ["../x", ".cec/pyproject.toml", "README.md", "ComfyUI/main.py"])
def test_a_plain_folder_gets_its_three_files_and_no_other(plain, name):
    before = everything(plain.root)
    with pytest.raises(ContentError, match="nothing was changed"):
        write_back(plain, {"uv.lock": Entry(FILE, b"new"), name: Entry(FILE, b"x")})
    assert everything(plain.root) == before


@pytest.mark.parametrize(
    "entry",
    [Entry("160000", b"x"), Entry("040000", b""), Entry("100664", b""), Entry(LINK, b""), Entry(LINK, b"a\0b")],
)
def test_what_is_neither_file_nor_link_is_refused(paths, entry):
    before = everything(paths.root)
    with pytest.raises(ContentError, match="nothing was changed"):
        write_back(paths, {".cec/a": Entry(FILE, b""), ".cec/x": entry})
    assert everything(paths.root) == before


def test_a_name_below_another_file_is_refused(paths):
    with pytest.raises(ContentError, match="a file and a folder at once"):
        changes(paths, {".cec/x": Entry(LINK, b"/etc"), ".cec/x/passwd": Entry(FILE, b"")})


def in_the_way(paths: EnvironmentPaths, what: str) -> None:
    place = paths.cec / "place"
    if what == "a folder with passing files":
        write(place / "a.tmp")
    elif what == "a repository":
        write(place / "x.toml")
        git(place, "init", "--quiet", "--template=")
    elif what == "a folder with a link that is not content":
        write(place / "x.toml")
        (place / "b.bak").symlink_to(paths.comfyui)
    elif what == "a pipe":
        os.mkfifo(place)


@pytest.mark.parametrize(
    "what", ["a folder with passing files", "a repository", "a folder with a link that is not content", "a pipe"]
)
def test_something_in_the_way_that_is_not_content_is_left_alone(paths, what):
    in_the_way(paths, what)
    before = everything(paths.root)
    with pytest.raises(ContentError, match="nothing was changed"):
        write_back(paths, {".cec/a": Entry(FILE, b""), ".cec/place": Entry(FILE, b"x")})
    assert everything(paths.root) == before
    if what in {"a repository", "a pipe"}:
        with pytest.raises(ContentError, match="nothing was changed"):
            write_back(paths, {".cec/a": Entry(FILE, b""), ".cec/place/x.toml": Entry(FILE, b"x")})
        assert everything(paths.root) == before


@pytest.mark.parametrize("wanted", [{}, {".cec/pyproject.toml": Entry(FILE, b"new")}], ids=["remove", "write"])
def test_a_manifest_folder_that_is_a_link_is_not_written_through(paths, tmp_path, wanted):
    paths.cec.rename(tmp_path / "elsewhere")
    paths.cec.symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path)
    with pytest.raises(ContentError, match="is a link"):
        write_back(paths, wanted)
    assert everything(tmp_path) == before


WRITES_ON_A_DISK = """
import sys
from pathlib import Path
from orchestrator.environments.content import ContentError, Entry, read_content, write_back
from orchestrator.workspace import EnvironmentPaths

paths = EnvironmentPaths("one", Path(sys.argv[1]))
before = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
wanted = {".cec/uv.lock": Entry("100644", b"new"), ".cec/more": Entry("100644", b"x" * 4_000_000)}
try:
    write_back(paths, wanted)
except ContentError as error:
    print("nothing was changed" in str(error), error)
after = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
print(before == after)
"""


@needs_mounts
@pytest.mark.parametrize(
    ("options", "then"), [("size=1m", "true"), ("size=16m", REMOUNTED_READ_ONLY)], ids=["full", "read-only"]
)
def test_where_nothing_can_be_written_nothing_is_changed(paths, options, then):
    said, same = run_on_tmpfs(paths.root, WRITES_ON_A_DISK, options=options, then=then).splitlines()
    assert said.startswith("True")
    assert same == "True"


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/y", "y/" + "x" * 300])
def test_a_name_too_long_for_the_disk_changes_nothing(paths, name):
    wanted = {".cec/uv.lock": Entry(FILE, b"new"), f".cec/{name}": Entry(FILE, b"")}
    before = everything(paths.root)
    with pytest.raises(ContentError, match="nothing was changed"):
        write_back(paths, wanted)
    assert everything(paths.root) == before
