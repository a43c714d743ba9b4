"""The public manager's calls on the files of `.metadata`: each is an event, and the file follows from it."""

import base64
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from freezegun import freeze_time

import orchestrator
from comfyui_stand_in.install import install
from journal import clock
from journal.events import (
    Event,
    FileRejected,
    LockAcquired,
    LockBroken,
    LockRefused,
    LockReleased,
    OrchestratorLost,
    OrchestratorStarted,
    OrchestratorStopped,
    StartupCaptured,
    StatusCleared,
    StatusSet,
    SwitchAborted,
    SwitchRequested,
)
from journal.identity import own_identity
from journal.store import Journal
from orchestrator import (
    acquire_switch_lock,
    cleanup_orchestrator_pid,
    cleanup_switch_status,
    force_cleanup_orchestrator_state,
    is_switch_locked,
    read_orchestrator_pid,
    read_startup_state,
    read_switch_request,
    read_switch_status,
    release_switch_lock,
    safe_write_command,
    write_orchestrator_pid,
    write_startup_state,
    write_switch_request,
    write_switch_status,
)
from orchestrator.compat.documents import SwitchNotGranted
from orchestrator.reading import read_state
from orchestrator.singleton import SINGLETON, AlreadyRunning
from orchestrator.workspace import WorkspaceError
from tests.helpers.waiting import until

REQUEST, LOCK, STATUS, PID = ".switch_request.json", ".switch.lock", ".switch_status.json", ".orchestrator.pid"
NOON = "2026-03-01 12:00:00"


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """The folder of a workspace with two environments, nobody at work in it."""
    for name in ("env1", "env2"):
        install(tmp_path / "environments" / name / "ComfyUI")
    folder = tmp_path / ".metadata"
    folder.mkdir()
    return folder


def of(metadata: Path, *kinds: type[Event]) -> list[Any]:
    """The events of those classes, in order."""
    with Journal.open_readonly(metadata / "journal.db") as journal:
        return [recorded.event for recorded in journal.read() if isinstance(recorded.event, kinds)]


def in_another_process(code: str, metadata: Path, *, then: str = "") -> subprocess.Popen[str]:
    """A process that has called `code`, said so, and waits for a line; `then` it goes on."""
    program = "\n".join(
        (
            "from orchestrator import *",
            "from pathlib import Path",
            f"m = Path({str(metadata)!r})",
            f"print({code}, flush=True)",
            "input()",
            then,
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


# ---------------------------------------------------------------- request


@pytest.mark.scenario("FC-01", "FC-02")
def test_a_request_is_written_with_target_source_and_a_float_timestamp_and_read_back(metadata):
    with freeze_time(NOON):
        write_switch_request(metadata, "env2", source_env="env1")
    document = json.loads((metadata / REQUEST).read_text())
    assert (document["target_env"], document["source_env"]) == ("env2", "env1")
    assert (type(document["timestamp"]), document["timestamp"]) == (float, 1772366400.0)
    assert read_switch_request(metadata) == document
    (requested,) = of(metadata, SwitchRequested)
    assert (requested.target, requested.source, requested.requester) == ("env2", "env1", own_identity())
    assert (metadata / REQUEST).stat().st_mode & 0o777 == 0o600


@pytest.mark.scenario("FC-03")
def test_no_request_is_none(metadata):
    assert read_switch_request(metadata) is None
    assert not (metadata / "journal.db").exists()


@pytest.mark.scenario("FC-02")
def test_a_request_that_others_wrote_is_read_and_left_for_the_orchestrator(metadata):
    written = {"target_env": "env2", "source_env": None, "timestamp": 1.5}
    (metadata / REQUEST).write_text(json.dumps(written))
    os.utime(metadata / REQUEST, (0, 0))
    assert read_switch_request(metadata) == written
    assert (metadata / REQUEST).exists()


@pytest.mark.scenario("FC-04")
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"target_env": "en', b"\xff\xfe", b"[]", b"7", b'{"target_env": 7}', b'{"source_env": "env1"}'],
)
def test_a_broken_request_is_none_and_once_it_has_rested_it_is_journaled_with_its_bytes(metadata, content):
    path = metadata / REQUEST
    path.write_bytes(content)
    assert read_switch_request(metadata) is None
    os.utime(path, ns=(0, clock.read().wall_ns - 2 * clock.S)) if path.exists() else None
    assert read_switch_request(metadata) is None
    (rejected,) = of(metadata, FileRejected)
    assert base64.b64decode(rejected.content_base64) == content
    assert not path.exists()


@pytest.mark.scenario("FC-04")
def test_half_a_request_that_is_still_being_written_is_none_and_stays(metadata):
    (metadata / REQUEST).write_text('{"target_env": "en')
    assert read_switch_request(metadata) is None
    assert (metadata / REQUEST).exists()
    (metadata / REQUEST).write_text('{"target_env": "env2"}')
    assert read_switch_request(metadata) == {"target_env": "env2"}


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "-x", "a\nb", "x" * 300])
def test_what_can_be_no_name_is_refused_before_anything_is_touched(metadata, name):
    with pytest.raises(WorkspaceError, match="cannot be an environment's name"):
        write_switch_request(metadata, name)
    if name:
        with pytest.raises(WorkspaceError, match="cannot be an environment's name"):
            write_switch_request(metadata, "env2", name)
    assert list(metadata.iterdir()) == []


def test_a_second_request_is_refused_with_the_first_one_named(metadata):
    write_switch_request(metadata, "env2", "env1")
    with pytest.raises(SwitchNotGranted, match=r"switch 2 to 'env2' holds the lock, asked for by pid \d+"):
        write_switch_request(metadata, "env1", "env2")


# ----------------------------------------------------------------- status


@pytest.mark.scenario("FC-05", "FC-06", "FC-07")
def test_a_status_is_written_with_all_its_fields_and_read_back(metadata):
    with freeze_time(NOON):
        write_switch_status(
            metadata, "failed", 30, "Syncing env2", target_env="env2", source_env="env1", error="no space left"
        )
    document = json.loads((metadata / STATUS).read_text())
    assert document == {
        "state": "failed",
        "progress": 30,
        "message": "Syncing env2",
        "updated_at": 1772366400.0,
        "target_env": "env2",
        "source_env": "env1",
        "error": "no space left",
    }
    assert read_switch_status(metadata) == document
    assert of(metadata, StatusSet)[0].state == "failed"


@pytest.mark.scenario("FC-07")
@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_a_status_that_is_none_or_half_of_one_is_none(metadata, content):
    if content is not None:
        (metadata / STATUS).write_bytes(content)
    assert read_switch_status(metadata) is None


@pytest.mark.scenario("FC-08")
def test_a_status_is_cleared(metadata):
    write_switch_status(metadata, "complete", 100)
    cleanup_switch_status(metadata)
    assert not (metadata / STATUS).exists()
    assert read_switch_status(metadata) is None
    assert of(metadata, StatusCleared)


@pytest.mark.parametrize(
    ("state", "progress", "fields", "error"),
    [
        ("", 0, {}, ValueError),
        ("a\nb", 0, {}, ValueError),
        ("syncing", 101, {}, ValueError),
        ("syncing", -1, {}, ValueError),
        ("syncing", 0, {"found": object()}, TypeError),
        ("syncing", 0, {"share": float("nan")}, ValueError),
    ],
)
def test_a_status_that_could_not_be_shown_is_refused(metadata, state, progress, fields, error):
    with pytest.raises(error):
        write_switch_status(metadata, state, progress, **fields)
    assert not (metadata / STATUS).exists()


def test_a_secret_in_a_status_is_masked_before_it_is_kept(metadata):
    write_switch_status(metadata, "failed", 0, "token=abc123", error="https://me:hidden@host/x failed")
    stored = (metadata / "journal.db").read_bytes() + (metadata / STATUS).read_bytes()
    assert b"abc123" not in stored
    assert b"hidden" not in stored


# -------------------------------------------------------------------- pid


@pytest.mark.scenario("FC-09", "FC-10", "FC-12")
def test_the_orchestrators_pid_is_plain_text_is_read_back_and_is_gone_after_the_cleanup(metadata):
    write_orchestrator_pid(metadata)
    write_orchestrator_pid(metadata)
    assert (metadata / PID).read_text() == str(os.getpid())
    assert read_orchestrator_pid(metadata) == os.getpid()
    assert of(metadata, OrchestratorStarted)[0].identity == own_identity()
    cleanup_orchestrator_pid(metadata)
    cleanup_orchestrator_pid(metadata)
    assert not (metadata / PID).exists()
    assert len(of(metadata, OrchestratorStarted, OrchestratorStopped)) == 2


@pytest.mark.scenario("FC-11", "B-34")
@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"0",
        b"-1",
        b"9223372036854775808",
        b"1e3",
        b"abc",
        b"\xff\xff",
        b"12 34",
        b"1" * 5000,
        "١٢".encode(),
        b"0x10",
    ],
)
def test_a_pid_file_that_is_missing_or_holds_no_pid_is_none(metadata, content):
    if content is not None:
        (metadata / PID).write_bytes(content)
    assert read_orchestrator_pid(metadata) is None


@pytest.mark.scenario("FC-11")
def test_a_pid_file_that_cannot_be_read_is_none(metadata):
    (metadata / PID).mkdir()
    assert read_orchestrator_pid(metadata) is None
    (metadata / PID).rmdir()
    os.mkfifo(metadata / PID)
    assert read_orchestrator_pid(metadata) is None


def test_a_second_orchestrator_is_refused_and_a_dead_one_is_succeeded(metadata):
    first = in_another_process("write_orchestrator_pid(m)", metadata)
    with pytest.raises(AlreadyRunning):
        write_orchestrator_pid(metadata)
    cleanup_orchestrator_pid(metadata)
    assert read_orchestrator_pid(metadata) == first.pid
    ended(first)
    cleanup_orchestrator_pid(metadata)
    assert read_orchestrator_pid(metadata) is None
    assert of(metadata, OrchestratorLost)[0].identity.pid == first.pid


@pytest.mark.scenario("B-21")
@pytest.mark.parametrize("made_anew", [False, True])
def test_a_second_one_is_refused_also_where_the_lock_file_of_the_first_was_deleted(metadata, made_anew):
    first = in_another_process("write_orchestrator_pid(m)", metadata)
    (metadata / SINGLETON).unlink()
    if made_anew:
        (metadata / SINGLETON).touch()
    with pytest.raises(AlreadyRunning, match=f"pid {first.pid}, no control server"):
        write_orchestrator_pid(metadata)
    assert not of(metadata, OrchestratorLost)
    ended(first)
    write_orchestrator_pid(metadata)
    cleanup_orchestrator_pid(metadata)


@pytest.mark.scenario("B-34")
@pytest.mark.parametrize("pid", [0, -1, 2**63, 2**31, 1.0, "1", None, True, -(2**70)])
def test_what_is_no_process_does_not_run(pid):
    assert not orchestrator._is_process_running(pid)


@pytest.mark.scenario("B-34")
def test_a_zombie_does_not_run_and_another_users_process_does(metadata):
    zombie = subprocess.Popen(["true"])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    assert not orchestrator._is_process_running(zombie.pid)
    for pid in (zombie.pid, 1):
        (metadata / PID).write_text(str(pid))
        cleanup_orchestrator_pid(metadata)
        force_cleanup_orchestrator_state(metadata)
        assert not (metadata / PID).exists()
    zombie.wait()
    assert orchestrator._is_process_running(1)
    assert orchestrator._is_process_running(os.getpid())


@pytest.mark.scenario("B-34")
def test_another_program_with_the_pid_that_the_file_names_is_never_signalled(metadata):
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (metadata / PID).write_text(str(bystander.pid))
    force_cleanup_orchestrator_state(metadata)
    assert not (metadata / PID).exists()
    bystander.communicate(b"\n")
    assert bystander.returncode == 0


# ---------------------------------------------------------------- startup


@pytest.mark.scenario("FC-13", "FC-14")
def test_the_startup_state_is_kept_and_read_back(metadata):
    given = {
        "python_executable": "/venv/bin/python",
        "working_directory": "/w/environments/env1/ComfyUI",
        "argv": ["main.py", "--port", "8199"],
        "environment_name": "env1",
        "workspace_root": "/w",
        "port": 8199,
    }
    with freeze_time(NOON):
        write_startup_state(metadata, **given)
    assert read_startup_state(metadata) == {**given, "timestamp": 1772366400.0}
    assert of(metadata, StartupCaptured)[0].environment == "env1"


@pytest.mark.scenario("FC-13")
def test_what_is_not_given_is_that_of_this_process(metadata, monkeypatch):
    monkeypatch.chdir(metadata.parent / "environments" / "env1" / "ComfyUI")
    monkeypatch.setattr(sys, "argv", ["main.py", "--port", "8200"])
    write_startup_state(metadata)
    state = read_startup_state(metadata)
    assert state is not None
    assert (state["python_executable"], state["working_directory"]) == (sys.executable, str(Path.cwd()))
    assert (state["argv"], state["port"]) == (["main.py", "--port", "8200"], 8200)
    assert (state["environment_name"], state["workspace_root"]) == ("env1", str(metadata.parent))


def test_an_unknown_or_wrong_field_of_the_startup_state_is_named(metadata):
    with pytest.raises(TypeError, match="unknown fields: colour; of the wrong type: port"):
        write_startup_state(metadata, colour="red", port="8188")
    assert read_startup_state(metadata) is None


# ------------------------------------------------------------------- lock


@pytest.mark.scenario("FC-15", "FC-16", "FC-18")
def test_the_lock_is_taken_once_and_released(metadata):
    assert not is_switch_locked(metadata)
    assert acquire_switch_lock(metadata)
    assert is_switch_locked(metadata)
    assert (metadata / LOCK).exists()
    assert not acquire_switch_lock(metadata)
    release_switch_lock(metadata)
    assert not is_switch_locked(metadata)
    assert not (metadata / LOCK).exists()
    assert [type(event) for event in of(metadata, LockAcquired, LockRefused, LockReleased)] == [
        LockAcquired,
        LockRefused,
        LockReleased,
    ]


@pytest.mark.scenario("FC-16", "FC-17")
@pytest.mark.parametrize(("age_s", "taken"), [(0, False), (299, False), (300, True), (86_400, True)])
def test_a_lock_that_a_foreign_program_touched_counts_for_300_seconds(metadata, age_s, taken):
    with freeze_time(NOON) as frozen:
        (metadata / LOCK).touch()
        os.utime(metadata / LOCK, ns=(clock.read().wall_ns, clock.read().wall_ns))
        frozen.tick(timedelta(seconds=age_s))
        assert is_switch_locked(metadata) is not taken
        assert acquire_switch_lock(metadata) is taken
        assert [event.why for event in of(metadata, LockBroken)] == (["foreign_stale"] if taken else [])
    assert bool((metadata / LOCK).read_bytes()) is taken


@pytest.mark.scenario("FC-17")
def test_our_own_lock_never_expires_by_age(metadata):
    with freeze_time(NOON) as frozen:
        assert acquire_switch_lock(metadata)
        os.utime(metadata / LOCK, (0, 0))
        frozen.tick(timedelta(days=30))
        assert is_switch_locked(metadata)
        assert not acquire_switch_lock(metadata)
        release_switch_lock(metadata)
        write_switch_request(metadata, "env2", "env1")
        frozen.tick(timedelta(days=30))
        assert not acquire_switch_lock(metadata)


@pytest.mark.scenario("FC-17")
def test_the_claim_of_a_living_process_stands_and_of_a_dead_one_falls_at_once(metadata):
    holder = in_another_process("acquire_switch_lock(m)", metadata)
    assert read_state(metadata / "journal.db").claim.holder.pid == holder.pid
    with freeze_time(NOON) as frozen:
        frozen.tick(timedelta(days=1))
        assert is_switch_locked(metadata)
        assert not acquire_switch_lock(metadata)
    ended(holder)
    assert not is_switch_locked(metadata)
    assert acquire_switch_lock(metadata)
    assert [event.why for event in of(metadata, LockBroken)] == ["owner_dead"]


def test_the_lock_of_a_switch_outlives_its_requester_and_ends_with_the_switch(metadata):
    asker = in_another_process("acquire_switch_lock(m), write_switch_request(m, 'env2', 'env1')", metadata)
    ended(asker)
    assert is_switch_locked(metadata)
    assert not acquire_switch_lock(metadata)
    with pytest.raises(SwitchNotGranted):
        write_switch_request(metadata, "env1")


def test_a_claim_ends_in_the_request_of_its_holder_and_keeps_others_out(metadata):
    holder = in_another_process("acquire_switch_lock(m)", metadata, then="write_switch_request(m, 'env2', 'env1')")
    with pytest.raises(SwitchNotGranted, match=f"the process {holder.pid} has claimed the lock"):
        write_switch_request(metadata, "env1")
    holder.communicate("\n")
    assert holder.returncode == 0
    state = read_state(metadata / "journal.db")
    assert (state.claim, state.lock.switch) == (None, state.job.job)


def test_of_many_processes_at_once_one_gets_the_claim(metadata):
    write_switch_status(metadata, "idle")  # the journal is there
    code = f"from orchestrator import *; from pathlib import Path; print(acquire_switch_lock(Path({str(metadata)!r}))); input()"
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(8)]
    said = [process.stdout.readline() for process in processes]
    for process in processes:
        process.communicate("\n")
    assert sorted(said) == ["False\n"] * 7 + ["True\n"]


@pytest.mark.scenario("FC-18")
@pytest.mark.parametrize("gone", [[LOCK], [REQUEST], [LOCK, REQUEST, STATUS, PID]])
def test_deleting_the_files_of_a_switch_while_no_orchestrator_lives_releases_it(metadata, gone):
    assert acquire_switch_lock(metadata)
    write_switch_request(metadata, "env2", "env1")
    for name in gone:
        (metadata / name).unlink(missing_ok=True)
    assert not is_switch_locked(metadata)
    assert not any((metadata / name).exists() for name in (LOCK, REQUEST, STATUS))
    assert "deleted while no orchestrator lived" in of(metadata, SwitchAborted)[0].error
    assert acquire_switch_lock(metadata)


@pytest.mark.scenario("FC-18")
def test_releasing_withdraws_a_switch_that_no_orchestrator_works_on(metadata):
    write_switch_request(metadata, "env2", "env1")
    release_switch_lock(metadata)
    assert not is_switch_locked(metadata)
    assert (read_switch_request(metadata), read_switch_status(metadata)) == (None, None)


def test_a_switch_that_an_orchestrator_works_on_is_not_released(metadata):
    working = in_another_process("write_orchestrator_pid(m)", metadata)
    write_switch_request(metadata, "env2", "env1")
    release_switch_lock(metadata)
    (metadata / LOCK).unlink()
    assert is_switch_locked(metadata)
    ended(working)


@pytest.mark.scenario("FC-18")
def test_releasing_takes_a_foreign_lock_file_away(metadata):
    (metadata / LOCK).touch()
    release_switch_lock(metadata)
    assert not (metadata / LOCK).exists()
    assert of(metadata, LockBroken)[0].why == "released"


# --------------------------------------------------------- command, clean-up


def test_a_command_is_left_in_one_piece_and_only_if_it_would_be_understood(metadata):
    command = {"command": "restart", "timestamp": 1.0}
    safe_write_command(metadata, command)
    assert json.loads((metadata / ".cmd").read_text()) == command
    assert [path.name for path in metadata.iterdir()] == [".cmd"]
    for wrong in ({}, {"command": "dance"}, {"command": "abort_switch", "pid": "4"}):
        with pytest.raises(ValueError, match="leaving a command"):
            safe_write_command(metadata, wrong)


def test_a_forced_clean_up_leaves_neither_lock_nor_request_nor_status_and_journals_what_was_there(metadata):
    assert acquire_switch_lock(metadata)
    write_switch_request(metadata, "env2", "env1")
    write_switch_status(metadata, "rolling_back", 90)
    (metadata / REQUEST).write_text('{"target_env": "env1"}')
    force_cleanup_orchestrator_state(metadata)
    assert not any((metadata / name).exists() for name in (LOCK, REQUEST, STATUS, PID))
    assert not is_switch_locked(metadata)
    assert len(of(metadata, SwitchAborted)) == 1
    assert base64.b64decode(of(metadata, FileRejected)[0].content_base64) == b'{"target_env": "env1"}'


def test_a_forced_clean_up_ends_the_orchestrator_itself_also_one_that_does_not_listen(metadata):
    deaf = in_another_process("write_orchestrator_pid(m)", metadata)
    os.kill(deaf.pid, signal.SIGSTOP)
    until(lambda: psutil.Process(deaf.pid).status() == psutil.STATUS_STOPPED)
    force_cleanup_orchestrator_state(metadata)
    until(lambda: deaf.poll() is not None)
    assert deaf.returncode == -signal.SIGKILL
    deaf.communicate()
    assert read_orchestrator_pid(metadata) is None
    assert of(metadata, OrchestratorLost)[0].identity.pid == deaf.pid


def test_a_folder_that_is_no_metadata_folder_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="no folder called .metadata"):
        acquire_switch_lock(tmp_path)


def test_every_call_of_the_list_is_there_and_nothing_is_imported_before_it_is_needed():
    for name in orchestrator.__all__:
        assert callable(getattr(orchestrator, name))
    code = (
        "import sys, orchestrator; print([n for n in ('attrs', 'journal', 'sqlite3', 'asyncio') if n in sys.modules])"
    )
    root = Path(orchestrator.__file__).parents[1]
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no_such_name"):
        orchestrator.no_such_name  # noqa: B018


# ------------------------------------------------------------ what went wrong


@pytest.mark.scenario("FC-18")
def test_deleting_the_lock_file_of_a_claim_releases_it_with_nobody_alive(metadata):
    holder = in_another_process("acquire_switch_lock(m)", metadata)
    (metadata / LOCK).unlink()
    assert not is_switch_locked(metadata)
    assert acquire_switch_lock(metadata)
    ended(holder)


def test_a_request_that_is_refused_gives_the_claim_of_its_asker_up(metadata):
    write_switch_request(metadata, "env2", "env1")
    working = in_another_process("write_orchestrator_pid(m)", metadata)
    with pytest.raises(SwitchNotGranted):
        write_switch_request(metadata, "env1")
    release_switch_lock(metadata)
    ended(working)
    release_switch_lock(metadata)
    assert acquire_switch_lock(metadata)
    (metadata.parent / "environments" / "env2").rename(metadata.parent / "gone")
    write_switch_request(metadata, "env2", "env1")  # the switch finds out
    assert read_state(metadata / "journal.db").claim is None


@pytest.mark.scenario("FC-04")
def test_reading_a_torn_file_that_lies_over_an_open_switchs_request_does_not_end_that_switch(metadata):
    write_switch_request(metadata, "env2", "env1")
    (metadata / REQUEST).write_text("{")
    os.utime(metadata / REQUEST, (0, 0))
    assert read_switch_request(metadata) is None
    assert is_switch_locked(metadata)
    assert read_switch_request(metadata)["target_env"] == "env2"
    assert not of(metadata, SwitchAborted)


def test_asking_whether_it_is_locked_writes_nothing(metadata):
    write_switch_request(metadata, "env2", "env1")
    (metadata / STATUS).unlink()
    before = read_state(metadata / "journal.db").seq
    assert is_switch_locked(metadata)
    assert read_state(metadata / "journal.db").seq == before
    assert not (metadata / STATUS).exists()


def test_a_status_that_no_reader_would_read_whole_is_refused(metadata):
    with pytest.raises(ValueError, match="longer than 65536 characters"):
        write_switch_status(metadata, "failed", 0, "x" * 70_000)
    write_switch_status(metadata, "failed", 33.3, "")
    assert read_switch_status(metadata)["progress"] == 33


def test_a_pid_file_that_was_deleted_is_written_again(metadata):
    write_orchestrator_pid(metadata)
    (metadata / PID).unlink()
    write_orchestrator_pid(metadata)
    assert read_orchestrator_pid(metadata) == os.getpid()
    cleanup_orchestrator_pid(metadata)


def test_a_journal_that_cannot_be_read_is_no_reason_for_a_reader_to_raise(metadata, monkeypatch):
    (metadata / "journal.db").write_bytes(b"this is no journal" * 100)
    (metadata / LOCK).touch()
    (metadata / PID).write_text("1")
    monkeypatch.setenv("COMFYGIT_HOME", str(metadata.parent))
    assert is_switch_locked(metadata)
    assert orchestrator.should_spawn_orchestrator_for_switch()
    assert not orchestrator.detect_manual_start_during_orchestrator()
    force_cleanup_orchestrator_state(metadata)
    assert not (metadata / LOCK).exists()
    assert (metadata / "journal.db").exists()


@pytest.mark.parametrize("command", [None, [], "restart", 7])
def test_a_command_that_is_no_object_is_a_value_error(metadata, command):
    with pytest.raises(ValueError, match="leaving a command: it is no object"):
        safe_write_command(metadata, command)


@pytest.mark.parametrize("port", [0, -1, 65_536, 10**23])
def test_a_startup_state_with_what_is_no_port_is_refused(metadata, port):
    with pytest.raises(ValueError, match="is no port"):
        write_startup_state(metadata, port=port)


def test_saying_that_one_is_the_orchestrator_no_more_clears_what_a_finished_switch_still_shows(metadata):
    write_switch_request(metadata, "env2", "env1")
    write_orchestrator_pid(metadata)
    cleanup_orchestrator_pid(metadata)
    assert read_switch_status(metadata)["state"] == "rolled_back"  # it has only just ended
    write_orchestrator_pid(metadata)
    cleanup_orchestrator_pid(metadata)
    assert read_switch_status(metadata) is None
