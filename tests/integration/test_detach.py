import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from journal.identity import Identity, identify, is_alive
from orchestrator.processes.detach import spawn_detached
from orchestrator.processes.errors import SpawnFailed
from orchestrator.processes.table import NOBODYS, SPAWN_MARKER
from tests.helpers.child_scripts import LIVE_ON, PYTHON, end, wait_for_line
from tests.helpers.waiting import until

SAY = f"""
import os, re, signal, sys
status = open('/proc/self/status').read()
print('masks', *(re.search(name + r':\\s*(\\w+)', status)[1] for name in ('SigBlk', 'SigIgn')))
print('fds', sorted(os.listdir('/proc/self/fd'), key=int)[:-1])
said = [os.getcwd(), os.environ['GREETING'], os.environ.get('{SPAWN_MARKER}'), sys.stdin.read()]
print('said', said, flush=True)
print('error', file=sys.stderr, flush=True)
{LIVE_ON}
"""

DETACH_AND_DIE = f"""
import os, signal, sys
from pathlib import Path
from orchestrator.processes.detach import spawn_detached
command = [*{PYTHON!r}, {LIVE_ON!r}]
print(spawn_detached(command, log=Path(sys.argv[1]), environ=os.environ, cwd=Path('/')), flush=True)
os.killpg(0, signal.SIGKILL)
"""


@pytest.fixture
def ended():
    """Identities to be killed at the end."""
    found: list[Identity] = []
    yield found
    end(*found)


def detach(tmp_path: Path, ended: list[Identity], *arguments: str) -> int:
    environ = {**os.environ, "GREETING": "hello", SPAWN_MARKER: "x:1"}
    command = [*PYTHON, *arguments]
    pid = spawn_detached(command, log=tmp_path / "new" / "orchestrator.log", environ=environ, cwd=tmp_path)
    identity = identify(pid)
    assert identity is not None
    ended.append(identity)
    return pid


def test_it_has_a_session_and_an_output_of_its_own_and_nothing_of_ours(tmp_path, ended):
    log = tmp_path / "new" / "orchestrator.log"
    extra = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(extra, True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = detach(tmp_path, ended, SAY)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGINT, before)
        os.close(extra)
    wait_for_line(log, "ready")
    assert os.getsid(pid) == pid
    python_ignores = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    assert wait_for_line(log, "masks") == f"masks {0:016x} {python_ignores:016x}"
    assert wait_for_line(log, "fds") == "fds ['0', '1', '2']"
    assert wait_for_line(log, "said") == f"said {[str(tmp_path), 'hello', NOBODYS, '']}"
    assert "error\n" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_it_is_not_our_child_and_leaves_no_zombie_with_us(tmp_path, ended):
    before = psutil.Process().children()
    pid = detach(tmp_path, ended, LIVE_ON)
    assert psutil.Process(pid).ppid() != os.getpid()
    assert psutil.Process().children() == before
    os.kill(pid, signal.SIGKILL)
    until(lambda: identify(pid) is None)
    assert psutil.Process().children() == before


def test_it_survives_the_death_of_whoever_started_it_by_kill_9_of_the_whole_group(tmp_path, ended):
    log = tmp_path / "log"
    command = [sys.executable, "-c", DETACH_AND_DIE, str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    assert done.returncode == -signal.SIGKILL
    identity = identify(int(done.stdout))
    assert identity is not None
    ended.append(identity)
    wait_for_line(log, "ready")
    assert is_alive(identity)


@pytest.mark.parametrize(
    ("command", "cwd", "found"),
    [
        (["/no/such/program"], "/", "No such file"),
        (["/etc/passwd"], "/", "Permission denied"),
        (["/bin/true"], "/no/such/folder", "/no/such/folder"),
        (["/bin/true", "nul\0byte"], "/", "null byte"),
        ([], "/", "out of range"),
    ],
)
def test_what_cannot_be_started_is_an_error_with_a_hint_and_nothing_runs(tmp_path, command, cwd, found):
    log = tmp_path / "log"
    before = psutil.Process().children()
    with pytest.raises(SpawnFailed, match=re.escape(found)) as caught:
        spawn_detached(command, log=log, environ=os.environ, cwd=Path(cwd))
    assert str(log) in caught.value.hint
    assert psutil.Process().children() == before
