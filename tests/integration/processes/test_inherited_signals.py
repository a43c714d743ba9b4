import signal
import subprocess
import sys
import threading

import pytest

from orchestrator.processes.children import SpawnFailed
from tests.helpers.child_scripts import KEY, LIVE_ON, exit_of, start, wait_for_line

SAY_SIGNALS = """
import re
status = open('/proc/self/status').read()
print('blocked', int(re.search(r'SigBlk:\\s*(\\w+)', status)[1], 16))
ignored = int(re.search(r'SigIgn:\\s*(\\w+)', status)[1], 16)
print('ignored', [number for number in range(1, 32) if ignored >> (number - 1) & 1])
"""
NOTHING_OF_OURS = f"blocked 0\nignored {[int(signal.SIGPIPE), int(signal.SIGXFSZ)]}\n"
"""What SAY_SIGNALS says then: the child's own Python ignores two."""
FOUR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@pytest.fixture
def ignoring():
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (*FOUR, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def blocking():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*FOUR, signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_ignored_signals_are_not_and_stay_ignored_here(ignoring, children, log):
    start(children, log, SAY_SIGNALS)
    exit_of(children)
    assert log.read_text() == NOTHING_OF_OURS
    assert {signal.getsignal(number) for number in FOUR} == {signal.SIG_IGN}


def test_blocked_signals_are_not_and_stay_blocked_here(blocking, children, log):
    start(children, log, SAY_SIGNALS)
    exit_of(children)
    assert log.read_text() == NOTHING_OF_OURS
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(FOUR)


def test_a_signal_that_waits_blocked_is_neither_lost_nor_acted_on(tmp_path):
    """In a process of its own: a test runner has threads that would take the signal."""
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from orchestrator.processes.children import Children
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)
        children = Children('x')
        children.spawn(1, ['/bin/true'], cwd=Path('/'), environ={}, log=Path(sys.argv[1]))
        assert signal.sigpending() == {signal.SIGTERM}
        assert signal.sigwait({signal.SIGTERM}) == signal.SIGTERM
        while children.poll(1) is None:
            pass
    """
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")], check=True)


def test_handlers_of_ours_stay_and_are_not_inherited(children, log):
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        start(children, log, SAY_SIGNALS)
        exit_of(children)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert log.read_text() == NOTHING_OF_OURS


@pytest.mark.scenario("B-28")
def test_a_child_of_an_orchestrator_started_in_a_shells_background_hears_sigint(ignoring, children, log):
    identity = start(children, log, LIVE_ON)
    wait_for_line(log, "ready")
    assert children.signal(identity, KEY, "SIGINT", whole_tree=False) == 1
    exit_of(children)
    assert "KeyboardInterrupt" in log.read_text()


def test_outside_the_main_thread_nothing_is_started_deaf(ignoring, children, log):
    caught: list[SpawnFailed] = []

    def try_it() -> None:
        try:
            start(children, log, LIVE_ON)
        except SpawnFailed as error:
            caught.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    assert "main thread" in caught[0].hint


def test_exit_codes_are_known_although_we_were_started_with_sigchld_ignored(tmp_path):
    script = """if True:
        import signal, sys
        from pathlib import Path
        from orchestrator.processes.children import Children
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        children = Children('x')
        children.spawn(1, ['/bin/sh', '-c', 'exit 43'], cwd=Path('/'), environ={}, log=Path(sys.argv[1]))
        while (ended := children.poll(1)) is None:
            pass
        print(ended.code)
    """
    command = [sys.executable, "-c", script, str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout == "43\n"
