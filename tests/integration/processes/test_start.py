import os
from pathlib import Path

import pytest

from journal.identity import boot_id, own_identity
from orchestrator.processes.children import SPAWN_MARKER, Children, Exit, SpawnFailed, find_spawned
from tests.helpers.child_scripts import JOURNAL, KEY, LIVE_ON, exit_of, start


def test_the_child_gets_folder_environment_marker_and_no_input(children, log):
    script = f"""if True:
        import os, sys
        print([os.getcwd(), os.environ['GREETING'], os.environ['{SPAWN_MARKER}'], sys.stdin.read()])
    """
    start(children, log, script)
    assert exit_of(children) == Exit(0, "", known=True)
    assert log.read_text() == f"{[str(log.parents[2]), 'hello', f'{JOURNAL}:{KEY}', '']}\n"


def test_the_identity_is_the_childs_also_when_it_ends_at_once(children, log):
    identity = children.spawn(KEY, ["/bin/true"], cwd=Path("/"), environ={}, log=log)
    assert identity.boot_id == boot_id()
    assert identity.start_ticks >= own_identity().start_ticks
    assert exit_of(children) == Exit(0, "", known=True)


def test_the_child_leads_a_session_of_its_own(children, log):
    identity = start(children, log, LIVE_ON)
    assert os.getsid(identity.pid) == identity.pid != os.getsid(0)


def test_both_outputs_are_appended_to_a_private_log_in_a_folder_made_for_it(children, log):
    log.parent.mkdir(parents=True)
    log.write_text("before\n")
    log.chmod(0o600)
    start(children, log, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    exit_of(children)
    assert log.read_text() == "before\nout\nerr\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_no_descriptor_of_ours_is_inherited_not_even_an_inheritable_one(children, log, tmp_path):
    many = [os.open(tmp_path, os.O_RDONLY) for _ in range(100)]
    try:
        for descriptor in many:
            os.set_inheritable(descriptor, True)
        start(children, log, "import os; print(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])")
        exit_of(children)
    finally:
        for descriptor in many:
            os.close(descriptor)
    assert log.read_text() == "['0', '1', '2']\n"


def test_a_key_in_use_is_refused(children, log):
    start(children, log, LIVE_ON)
    with pytest.raises(ValueError, match="already known by 7"):
        start(children, log, LIVE_ON)


@pytest.mark.parametrize(
    ("command", "cwd", "found"),
    [
        (["/no/such/python"], "/", "No such file"),
        (["/etc/passwd"], "/", "Permission denied"),
        (["/bin/true"], "/no/such/folder", "/no/such/folder"),
        (["/bin/true", "nul\0byte"], "/", "null byte"),
        (["/bin/true", "x" * 10_000_000], "/", "Argument list too long"),
        ([], "/", "nothing"),
    ],
)
def test_a_program_that_cannot_be_started_is_an_error_with_a_hint(children, log, command, cwd, found):
    with pytest.raises(SpawnFailed, match=found) as caught:
        children.spawn(KEY, command, cwd=Path(cwd), environ={}, log=log)
    assert caught.value.hint
    assert children.poll(KEY) is None
    assert find_spawned(JOURNAL, KEY, log) == "none"


def test_a_log_that_cannot_be_made_is_an_error_with_a_hint(children, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpawnFailed, match="opening the log") as caught:
        children.spawn(KEY, ["/bin/true"], cwd=Path("/"), environ={}, log=tmp_path / "file" / "x.log")
    assert "space" in caught.value.hint


def test_a_second_start_into_a_log_still_written_to_is_refused(children, log):
    start(children, log, LIVE_ON)
    with pytest.raises(SpawnFailed, match="another process writes to it"):
        start(children, log, LIVE_ON, key=8)


def test_an_orchestrator_is_no_part_of_the_comfyui_it_was_started_from(monkeypatch):
    monkeypatch.setenv(SPAWN_MARKER, f"{JOURNAL}:3")
    Children(JOURNAL)
    assert SPAWN_MARKER not in os.environ
