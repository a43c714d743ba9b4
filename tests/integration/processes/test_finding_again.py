import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from journal.identity import Identity, is_alive
from orchestrator.processes.children import Children, Exit, find_spawned
from tests.helpers.child_scripts import JOURNAL, KEY, LIVE_ON, PYTHON, exit_of, start, wait_for_line
from tests.helpers.waiting import until


def test_by_its_marker(children, log):
    identity = start(children, log, LIVE_ON)
    wait_for_line(log, "ready")
    assert find_spawned(JOURNAL, KEY, log) == identity
    assert find_spawned(JOURNAL, KEY + 1, log.with_name("8.log")) == "none"
    assert find_spawned("another", KEY, log.with_name("8.log")) == "none"


def test_not_a_descendant_that_has_the_marker_too(children, log):
    script = f"import subprocess, sys; subprocess.Popen([*{PYTHON!r}, {LIVE_ON!r}], start_new_session=True); " + LIVE_ON
    identity = start(children, log, script)
    until(lambda: log.read_text().count("ready") == 2 if log.exists() else False)
    assert find_spawned(JOURNAL, KEY, log) == identity


def test_after_our_death_between_fork_and_append(tmp_path):
    log = tmp_path / "7.log"
    script = f"""if True:
        import os, signal, sys
        from pathlib import Path
        from orchestrator.processes.children import Children
        command, log = [*{PYTHON!r}, {LIVE_ON!r}], Path(sys.argv[1])
        Children({JOURNAL!r}).spawn({KEY}, command, cwd=Path('/'), environ=os.environ, log=log)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    died = subprocess.run([sys.executable, "-c", script, str(log)], check=False)
    assert died.returncode == -signal.SIGKILL
    wait_for_line(log, "ready")
    found = find_spawned(JOURNAL, KEY, log)
    assert isinstance(found, Identity)
    children = Children(JOURNAL)
    children.adopt(KEY, found)
    assert children.signal(found, KEY, "SIGTERM", whole_tree=True) == 1
    assert exit_of(children) == Exit(None, "", known=False)
    assert find_spawned(JOURNAL, KEY, log) == "none"
    children.close()


def test_pending_while_something_unmarked_holds_the_log(tmp_path):
    log = tmp_path / "7.log"
    assert find_spawned(JOURNAL, KEY, log) == "none"
    with log.open("w") as ours:
        fcntl.flock(ours, fcntl.LOCK_EX)
        assert find_spawned(JOURNAL, KEY, log) == "pending"
    assert find_spawned(JOURNAL, KEY, log) == "none"


def test_the_lock_is_the_childs_and_its_heirs_not_ours(children, log):
    """An heir with an empty environment: the marker is gone, the log is still held."""
    heir = f"subprocess.Popen([*{PYTHON!r}, {LIVE_ON!r}], start_new_session=True, env={{}})"
    identity = start(children, log, f"import subprocess; {heir}")
    exit_of(children)
    wait_for_line(log, "ready")
    children.forget(KEY)
    assert find_spawned(JOURNAL, KEY, log) == "pending"
    strays = [p for p in psutil.process_iter() if _writes_to(p, log)]
    assert len(strays) == 1
    strays[0].kill()
    until(lambda: find_spawned(JOURNAL, KEY, log) == "none")
    assert not is_alive(identity)


def _writes_to(process: psutil.Process, log: Path) -> bool:
    try:
        return Path(f"/proc/{process.pid}/fd/1").samefile(log)
    except OSError:
        return False
