"""The content of an environment without a repository as text for the journal, and what may not get there."""

from pathlib import Path

import pytest

from orchestrator.environments.content import ContentError, read_content, write_back
from orchestrator.environments.saved_content import entries_of, saved_files
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.content_fixtures import comfygit_environment, write


@pytest.fixture
def paths(tmp_path: Path) -> EnvironmentPaths:
    paths = EnvironmentPaths("one", tmp_path / "one")
    write(paths.root / "pyproject.toml", "\ufeff[project]\r\nname = 'ü'\n\0")
    write(paths.root / "uv.lock", 'url = "https://files.example.org/hf_transfer-0.1.9.tar.gz"')
    return paths


def test_what_was_saved_comes_back_byte_for_byte(paths):
    before = read_content(paths)
    saved = saved_files(paths)
    assert [file.name for file in saved] == ["pyproject.toml", "uv.lock"]
    write(paths.root / "pyproject.toml", "broken")
    write(paths.root / ".pytorch-backend", "cpu")
    write_back(paths, entries_of(saved))
    assert read_content(paths) == before


def test_a_manifest_folder_without_a_repository_is_saved_too(tmp_path):
    paths = comfygit_environment(tmp_path / "one", repository=False)
    (paths.cec / "nodes" / "setup.sh").chmod(0o644)
    before = read_content(paths)
    saved = saved_files(paths)
    write(paths.cec / "pyproject.toml", "broken")
    write_back(paths, entries_of(saved))
    assert read_content(paths) == before


SECRET = "hf_abcdefghijklmnop"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (f'[[tool.uv.index]]\nurl = "https://me:{SECRET}@example.org/simple"\n'.encode(), "secret"),
        (f"token = '{SECRET}'".encode(), "secret"),
        (b"\xff", "UTF-8"),
        (b"x" * (4 * 1024 * 1024 + 1), "4 MiB"),
    ],
)
def test_what_may_not_be_kept_is_refused_by_name_and_without_its_bytes(paths, data, why):
    write(paths.root / "pyproject.toml", data)
    with pytest.raises(ContentError, match="'pyproject.toml'") as caught:
        saved_files(paths)
    assert why in str(caught.value)
    assert "abcdef" not in f"{caught.value} {caught.value.hint}"


def test_what_is_no_text_at_all_is_refused_by_name(paths, tmp_path):
    (paths.root / ".pytorch-backend").symlink_to("uv.lock")
    with pytest.raises(ContentError, match="'.pytorch-backend' is a link"):
        saved_files(paths)
    other = comfygit_environment(tmp_path / "two", repository=False)
    with pytest.raises(ContentError, match="'.cec/nodes/setup.sh' is marked executable"):
        saved_files(other)
    (other.cec / "nodes" / "setup.sh").unlink()
    write(other.cec / "\udcff")
    with pytest.raises(ContentError, match="is not UTF-8"):
        saved_files(other)


def test_together_they_are_not_endless(tmp_path):
    paths = comfygit_environment(tmp_path / "one", repository=False)
    (paths.cec / "nodes" / "setup.sh").unlink()
    for number in range(5):
        write(paths.cec / f"{number}.toml", b"x" * 4_000_000)
    with pytest.raises(ContentError, match="16 MiB together"):
        saved_files(paths)
