import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import attrs
import pytest

from journal.identity import Identity, boot_id, identify, is_alive
from orchestrator.processes.children import Exit
from orchestrator.processes.signals import _terminate, may_signal, open_pidfd, send
from tests.helpers.child_scripts import DEAF, KEY, LIVE_ON, PYTHON, exit_of, start, wait_for_line
from tests.helpers.waiting import until


@pytest.mark.parametrize("whole_tree", [False, True])
@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"start_ticks": -1}, {"boot_id": "another"}])
def test_another_owner_of_the_pid_is_not_signalled(children, log, change, whole_tree):
    identity = start(children, log, LIVE_ON)
    wait_for_line(log, "ready")
    other = attrs.evolve(
        identity,
        start_ticks=identity.start_ticks + change.get("start_ticks", 0),
        boot_id=change.get("boot_id", identity.boot_id),
    )
    assert children.signal(other, 99, "SIGKILL", whole_tree=whole_tree) == 0
    assert open_pidfd(other) is None
    assert is_alive(identity)


@pytest.mark.parametrize("whole_tree", [False, True])
def test_we_init_and_nobody_are_not_signalled(children, whole_tree):
    for pid in (os.getpid(), 1, 0, -1):
        identity = identify(pid) or Identity(pid, 0, boot_id())
        assert children.signal(identity, KEY, "SIGKILL", whole_tree=whole_tree) == 0
        assert not send(identity, "SIGKILL")


def test_an_ancestor_is_signalled_only_when_it_was_adopted(children, tmp_path):
    """A panel can start an orchestrator from the ComfyUI that has to make room for the switch's target."""
    script = """if True:
        import os
        from journal.identity import identify
        from orchestrator.processes.children import Children
        parent, children = identify(os.getppid()), Children('x')
        def signalled():
            return [children.signal(parent, 1, 'SIGCONT', whole_tree=whole_tree) for whole_tree in (False, True)]
        print(signalled())
        children.adopt(1, parent)
        print(signalled())
    """
    middle = f"import subprocess; subprocess.run([{sys.executable!r}, '-c', {script!r}], check=True)"
    done = subprocess.run([*PYTHON, middle], capture_output=True, check=True, text=True)
    assert done.stdout == "[0, 0]\n[1, 1]\n"


def test_an_unknown_signal_is_a_mistake(children, log):
    identity = start(children, log, LIVE_ON)
    with pytest.raises(KeyError):
        children.signal(identity, KEY, "SIGNONSENSE", whole_tree=False)


def test_a_dead_process_is_not_signalled(children, log):
    identity = start(children, log, "")
    exit_of(children)
    assert children.signal(identity, KEY, "SIGKILL", whole_tree=True) == 0
    assert children.signal(identity, KEY, "SIGKILL", whole_tree=False) == 0


def test_a_child_that_ignores_sigterm_is_ended_by_sigkill(children, log):
    identity = start(children, log, DEAF + LIVE_ON)
    wait_for_line(log, "ready")
    assert children.signal(identity, KEY, "SIGTERM", whole_tree=True) == 1
    assert children.poll(KEY) is None
    assert children.signal(identity, KEY, "SIGKILL", whole_tree=True) == 1
    assert exit_of(children) == Exit(None, "SIGKILL", known=True)


def test_where_there_are_no_signals_it_is_ended(children, log):
    identity = start(children, log, LIVE_ON)
    assert _terminate(identity)
    assert exit_of(children) == Exit(None, "SIGKILL", known=True)
    children.forget(KEY)
    assert not _terminate(identity)


def test_without_pidfds_it_is_signalled_and_polled(children, log, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    identity = start(children, log, LIVE_ON)
    wait_for_line(log, "ready")
    assert children.exit_fd(KEY) is None
    assert children.signal(identity, KEY, "SIGKILL", whole_tree=False) == 1
    assert exit_of(children) == Exit(None, "SIGKILL", known=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody is asked")
def test_who_may_be_signalled_is_known_before_it_is_tried(children, log):
    ours = start(children, log, LIVE_ON)
    assert may_signal(ours)
    with as_nobody() as somebody_elses:
        assert not may_signal(somebody_elses or ours)
        assert not send(somebody_elses or ours, "SIGCONT")
    children.signal(ours, KEY, "SIGKILL", whole_tree=False)
    until(lambda: not is_alive(ours))
    assert may_signal(ours)  # gone: nothing forbids it


@contextlib.contextmanager
def as_nobody() -> Iterator[Identity | None]:
    """As a user who is not root; who is another user's then: init for one who never was root, else (None) all of ours."""
    if os.geteuid() != 0:
        yield identify(1)
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield None
    finally:
        os.setresuid(0, 0, 0)
