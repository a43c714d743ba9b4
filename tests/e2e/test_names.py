"""Names that are no environment's name: refused by name, whichever way they come in, before anything is touched."""

import json

import pytest

from journal.events import (
    FileIngested,
    FileRejected,
    OrchestratorStarted,
    PreflightStarted,
    RefusalReason,
    SwitchRefused,
    SwitchRequested,
)
from orchestrator.cli import main
from tests.helpers.waiting import until

NAMES = {
    "../outside": "path separator",
    "a/b": "path separator",
    ".": "stands for a folder",
    "": "empty",
    "n" * 300: "longer than 255 bytes",
    "new\nline": "control character",
    "link": "leads outside",
}


def a_workspace_with_an_outside(workspace):
    """A workspace with something like an environment beside its environments, and a link to there."""
    live = workspace(good=None)
    environments = live.root / "environments"
    (live.root / "outside" / "ComfyUI").mkdir(parents=True)
    (live.root / "outside" / "ComfyUI" / "main.py").write_text("raise SystemExit('started from outside')\n")
    (environments / "a" / "b").mkdir(parents=True)
    (environments / "link").symlink_to(live.root / "outside", target_is_directory=True)
    return live


def everything(live, but=()):
    """Path and content time of all there is, but for what belongs to the supervisor."""
    found = {}
    for path in sorted(live.root.rglob("*")):
        relative = path.relative_to(live.root)
        if relative.parts[0] not in {".metadata", *but} and "__pycache__" not in relative.parts:
            found[str(relative)] = path.lstat().st_mtime_ns
    return found


@pytest.mark.scenario("B-27")
def test_by_a_request_file(workspace):
    live = a_workspace_with_an_outside(workspace)
    live.serve("good")
    before = everything(live)
    for number, (name, flaw) in enumerate(NAMES.items(), 1):
        live.request(name, "good")
        live.until(lambda state, number=number: len(live.of(SwitchRefused)) + len(live.of(FileRejected)) == number)
        until(lambda: not (live.metadata / ".switch_request.json").exists())
        said = live.of(FileRejected)[-1].why if not name else live.of(SwitchRefused)[-1].message
        assert flaw in said
        assert "\n" not in said
    assert {event.why for event in live.of(SwitchRefused)} == {RefusalReason.UNKNOWN}
    assert len(live.of(FileIngested)) == len(NAMES) - 1
    assert not live.of(SwitchRequested)
    assert not live.of(PreflightStarted)
    assert everything(live) == before
    assert live.state().serving == "good"


@pytest.mark.scenario("B-27")
def test_by_the_command_switch(workspace, capsys):
    live = a_workspace_with_an_outside(workspace)
    before = everything(live)
    for number, (name, flaw) in enumerate(NAMES.items(), 1):
        assert main(["switch", "--workspace", str(live.root), "--", name]) == 1
        said = capsys.readouterr().err
        assert flaw in said
        assert len(said.splitlines()) == 1
        assert len(live.of(SwitchRefused)) == number
    assert {event.why for event in live.of(SwitchRefused)} == {RefusalReason.UNKNOWN}
    assert not live.of(SwitchRequested)
    assert not live.of(OrchestratorStarted)
    assert everything(live) == before


@pytest.mark.scenario("B-27")
@pytest.mark.parametrize("command", ["run", "spawn"])
def test_by_an_environment_to_start_with(workspace, capsys, command):
    live = a_workspace_with_an_outside(workspace)
    before = everything(live)
    for name, flaw in NAMES.items():
        assert main([command, "--workspace", str(live.root), "--environment", name]) == 1
        said = capsys.readouterr().err
        assert flaw in said
        assert len(said.splitlines()) == 2  # the second is the hint
    assert not live.of(OrchestratorStarted)
    assert everything(live) == before


@pytest.mark.scenario("B-27")
def test_by_a_panel_that_starts_us(workspace):
    live = a_workspace_with_an_outside(workspace)
    process = live.start("../outside")
    assert process.wait(10) == 1
    assert "path separator" in live.log()
    assert not (live.metadata / "journal.db").exists()


@pytest.mark.scenario("B-27")
def test_a_request_with_a_source_of_such_a_name_is_rejected_and_the_source_never_looked_for(workspace):
    live = a_workspace_with_an_outside(workspace)
    request = {"target_env": "good", "source_env": "../outside", "timestamp": 1_700_000_000.0}
    (live.metadata / ".switch_request.json").write_text(json.dumps(request))
    before = everything(live, but=["environments"])
    live.start("good")
    live.until(lambda state: state.serving == "good")
    assert "'../outside'" in live.of(FileRejected)[0].why
    assert everything(live, but=["environments"]) == before
