import select
import subprocess

import attrs
import pytest

from journal.identity import identify, is_alive
from orchestrator.processes.children import Exit
from orchestrator.processes.signals import send
from tests.helpers.child_scripts import KEY, LIVE_ON, PYTHON, end, exit_of, wait_for_line
from tests.helpers.waiting import until


@pytest.fixture
def orphan(tmp_path):
    """A process that is not our child: its parent, once it is started, is killed with SIGKILL."""
    output = tmp_path / "orphan.log"
    script = f"""if True:
        import subprocess, sys, signal
        command = [*{PYTHON!r}, {LIVE_ON!r}]
        child = subprocess.Popen(command, start_new_session=True, stdout=open(sys.argv[1], 'w'))
        print(child.pid, flush=True)
        signal.pause()
    """
    parent = subprocess.Popen([*PYTHON, script, str(output)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    identity = identify(int(parent.stdout.readline()))
    wait_for_line(output, "ready")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert identity is not None
    yield identity
    end(identity)


def test_its_end_is_seen_and_its_code_unknown(children, orphan):
    children.adopt(KEY, orphan)
    assert children.poll(KEY) is None
    assert children.exit_fd(KEY) is not None
    assert children.signal(orphan, KEY, "SIGTERM", whole_tree=True) == 1
    assert exit_of(children) == Exit(None, "", known=False)


def test_its_descriptor_wakes(children, orphan):

    children.adopt(KEY, orphan)
    poller = select.poll()
    poller.register(children.exit_fd(KEY), select.POLLIN)
    assert poller.poll(0) == []
    send(orphan, "SIGKILL")
    assert poller.poll(10_000)


def test_adopting_the_dead_shows_an_end_at_once(children, orphan):
    send(orphan, "SIGKILL")
    until(lambda: not is_alive(orphan))
    children.adopt(KEY, orphan)
    assert children.poll(KEY) == Exit(None, "", known=False)
    assert children.exit_fd(KEY) is None


def test_another_owner_of_the_pid_is_not_adopted(children, orphan):
    children.adopt(KEY, attrs.evolve(orphan, start_ticks=orphan.start_ticks - 1))
    assert children.poll(KEY) == Exit(None, "", known=False)
    assert children.exit_fd(KEY) is None
