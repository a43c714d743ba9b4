"""What the panel reads and writes in `.metadata`, and when it gives way: plain functions over plain files."""

import json
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from freezegun import freeze_time

from orchestrator.panel import leaving, metadata, place
from orchestrator.panel.giving_way import public_manager
from orchestrator.panel.place import Place
from orchestrator.panel.routes import ROUTES
from orchestrator.panel.venv import VenvError
from orchestrator.processes import table


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ("5050", 5050),
        (" 5050\n", 5050),
        ("", None),
        ("0", None),
        ("-1", None),
        ("65536", None),
        ("9" * 400, None),
        ("x", None),
    ],
)
def test_a_number_is_one_in_its_range_or_none(tmp_path, content, number):
    (tmp_path / ".control_port").write_text(content)
    assert metadata.control_port(tmp_path) == number


def test_the_switch_log_is_its_last_80_entries_whatever_lies_between(tmp_path):
    assert metadata.switch_logs(tmp_path) == []
    entry = {"timestamp": "2026-03-01T12:00:00Z", "level": "INFO", "message": "x" * 4000}
    lines = [json.dumps(entry)] * 200 + ["no entry \udcff"]
    (tmp_path / metadata.SWITCH_LOG).write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    found = metadata.switch_logs(tmp_path)
    assert 60 < len(found) <= 80
    assert found[-2] == entry
    assert (found[-1]["timestamp"], found[-1]["message"]) == (None, "no entry \ufffd")


def test_the_lock_file_is_taken_once_and_by_age(tmp_path):
    with freeze_time("2026-03-01 12:00:00") as frozen:
        assert metadata.take_lock(tmp_path)
        os.utime(tmp_path / metadata.LOCK, (1772366400, 1772366400))
        frozen.tick(timedelta(seconds=299))
        assert not metadata.take_lock(tmp_path)
        frozen.tick(timedelta(seconds=1))
        assert metadata.take_lock(tmp_path)
    metadata.free_lock(tmp_path)
    metadata.free_lock(tmp_path)
    assert not (tmp_path / metadata.LOCK).exists()


def test_a_request_and_a_command_are_written_in_one_piece(tmp_path):
    metadata.write_request(tmp_path, "other", "")
    metadata.write_command(tmp_path, {"command": "abort_switch", "pid": 7})
    request = json.loads((tmp_path / metadata.REQUEST).read_text())
    command = json.loads((tmp_path / metadata.COMMAND).read_text())
    assert (request["target_env"], request["source_env"], type(request["timestamp"])) == ("other", None, float)
    assert (command["command"], command["pid"], type(command["timestamp"])) == ("abort_switch", 7, float)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [None, "", "{", "[]", "[" * 100_000])
def test_what_is_no_object_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "file").write_text(content)
    assert metadata.read_object(tmp_path / "file") is None


def test_where_a_switch_stands_is_read_from_its_own_status_only(tmp_path):
    where = Place(tmp_path, "good")
    where.metadata.mkdir()
    assert leaving.state_of(where, 4) == ""
    (where.metadata / metadata.STATUS).write_text('{"state": "syncing", "switch_id": 4}')
    assert leaving.state_of(where, 4) == "syncing"
    assert leaving.state_of(where, 5) == ""


def test_a_workspace_that_is_named_has_to_be_one(tmp_path, monkeypatch):
    (tmp_path / ".metadata").mkdir()
    found = place.named(str(tmp_path))
    assert found is not None
    assert (found.root, found.environment) == (tmp_path.resolve(), "")
    for path in ("relative", str(tmp_path / "nowhere"), "/x\0y", ""):
        assert place.named(path) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input" / ".metadata").mkdir(parents=True)
    assert place.named(str(tmp_path / "input")) is None  # a page can upload what lies below ComfyUI


def test_environments_are_the_folders_that_are_not_hidden(tmp_path):
    for name in ("b", "a", ".cache"):
        (tmp_path / "environments" / name).mkdir(parents=True)
    (tmp_path / "environments" / "file").touch()
    assert Place(tmp_path, "").environments() == ["a", "b"]
    assert Place(tmp_path / "nowhere", "").environments() == []


def test_a_panel_without_its_release_says_how_to_put_it_there_again():
    with pytest.raises(VenvError) as caught:
        place.wheel()  # in the source tree, there is none beside it
    assert "install-panel" in caught.value.hint


def test_what_outlives_comfyui_does_not_carry_its_mark(monkeypatch):
    assert (place.SPAWN_MARKER, place.NOBODYS) == (table.SPAWN_MARKER, table.NOBODYS)
    monkeypatch.setenv(place.SPAWN_MARKER, "x:1")
    monkeypatch.setenv("PYTHONPATH", "/astray")
    environ = place.environ_of_its_own("PYTHONPATH")
    assert environ[place.SPAWN_MARKER] == place.NOBODYS
    assert "PYTHONPATH" not in environ


# ------------------------------------------------------------- giving way


def manager(folder: Path) -> Path:
    for name in ("comfygit_panel.py", "orchestrator.py"):
        (folder / "server").mkdir(parents=True, exist_ok=True)
        (folder / "server" / name).touch()
    return folder


@pytest.fixture
def ours(tmp_path):
    folder = tmp_path / "custom_nodes" / "comfygit-orchestrator"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["comfygit-manager", "a-clone-of-it"])
def test_the_public_manager_beside_us_is_seen_whatever_its_folder_is_called(ours, name):
    assert public_manager(ours) is None
    (ours.parent / "other-node").mkdir()
    theirs = manager(ours.parent / name)
    assert public_manager(ours) == theirs


def test_one_that_is_disabled_is_not_in_the_way(ours, monkeypatch):
    manager(ours.parent / "comfygit-manager.disabled")
    assert public_manager(ours) is None
    theirs = manager(ours.parent / "comfygit-manager")
    monkeypatch.setattr(sys, "argv", ["main.py", "--disable-all-custom-nodes"])
    assert public_manager(ours) is None
    whitelist = ["--whitelist-custom-nodes", ours.name, theirs.name, "--cpu"]
    monkeypatch.setattr(sys, "argv", ["main.py", "--disable-all-custom-nodes", *whitelist])
    assert public_manager(ours) == theirs
    monkeypatch.setattr(
        sys, "argv", ["main.py", "--disable-all-custom-nodes", whitelist[0], ours.name, "--x", theirs.name]
    )
    assert public_manager(ours) is None


def test_one_in_another_folder_of_custom_nodes_is_seen(ours, tmp_path, monkeypatch):
    theirs = manager(tmp_path / "elsewhere" / "manager")
    folder_paths = ModuleType("folder_paths")
    folder_paths.get_folder_paths = lambda _: [str(ours.parent), str(theirs.parent)]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "folder_paths", folder_paths)
    assert public_manager(ours) == theirs
    folder_paths.get_folder_paths = lambda _: [str(tmp_path / "gone")]  # type: ignore[attr-defined]
    assert public_manager(ours) is None


# ------------------------------------------------------------ the page's


def test_the_page_asks_only_for_routes_that_are_there():
    source = "".join(path.read_text("utf-8") for path in (Path(metadata.__file__).parent / "web").glob("*.js"))
    asked = set(re.findall(r'(read|act)\("(/v2/[^"]+)"', source))
    assert len(asked) == 5
    assert {({"read": "GET", "act": "POST"}[how], path) for how, path in asked} <= ROUTES.keys()


def test_the_page_shows_what_comes_from_elsewhere_as_text_only():
    source = "".join(path.read_text("utf-8") for path in (Path(metadata.__file__).parent / "web").glob("*.js"))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", source)
