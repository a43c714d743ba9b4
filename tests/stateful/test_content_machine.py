"""Any order of edits, commits, starts, switches, rollbacks and accidents: nothing that an owner has written is lost.

The orchestrator's decisions in virtual time, on real environments: comfygit-core syncs them, git keeps their content.
"""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from tests.helpers.content_steps import (
    FILES,
    EditFiles,
    EditManifest,
    How,
    LosePower,
    Play,
    RollBack,
    Steps,
    Undo,
    Update,
    steps,
)
from tests.helpers.content_template import Template

pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.timeout(900)]

IS_LONG = settings.get_current_profile_name() == "long"
ROUNDS = 5 if IS_LONG else 1
"""Each is a test of its own, so that several processes share them, with sequences of its own."""
SEQUENCES = 100 if IS_LONG else 8

MID_SYNC_S = 2.5
"""After a restart was asked for: ComfyUI takes 1.9 s to end, a sync 1 s."""
ROLLED_BACK_AND_UNDONE: Steps = [
    (EditFiles("alpha", FILES), None),
    (Update("alpha", How.BARE), None),
    (EditFiles("alpha", FILES), None),
    (RollBack(0), None),
    (Undo(), None),
]
SYNCS_KILLED_AROUND_A_WRITING_OF_THE_MANIFEST: Steps = [
    step
    for changes in (10, 24, 25, 27, 45)
    for step in ((Update("alpha", How.BARE), MID_SYNC_S), (LosePower(changes), None))
]
EDITED_AFTER_AN_INTERRUPTED_RESTORE: Steps = [
    (Update("alpha", How.NOTE), None),
    (RollBack(0), 2.15),
    (LosePower(3), 0.0),
    (EditManifest("alpha", How.NOTE), None),
]
EDITED_WHILE_A_RESTORE_BEGINS: Steps = [
    (Update("alpha", How.NOTE), None),
    (RollBack(0), 2.15),
    (EditManifest("alpha", How.NOTE), None),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, uv_cache: Path) -> Template:
    return Template.build(tmp_path_factory.mktemp("template") / "workspace", uv_cache)


@pytest.mark.scenario("B-45")
@pytest.mark.parametrize("number", range(ROUNDS))
@settings(max_examples=SEQUENCES, suppress_health_check=list(HealthCheck))
@given(sequence=steps())
@example(sequence=ROLLED_BACK_AND_UNDONE)
@example(sequence=SYNCS_KILLED_AROUND_A_WRITING_OF_THE_MANIFEST)
@example(sequence=EDITED_AFTER_AN_INTERRUPTED_RESTORE)
@example(sequence=EDITED_WHILE_A_RESTORE_BEGINS)
def test_whatever_happens_in_whatever_order_what_owners_have_written_is_as_they_wrote_it(
    template: Template, number: int, sequence: Steps
):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as variables:
        variables.setenv("UV_OFFLINE", "1")
        variables.setattr(tempfile, "tempdir", folder)  # what is killed leaves some there
        play = Play(template, template.copy(Path(folder, "workspace")))
        play.run(sequence)
        assert play.world.is_at_rest()
