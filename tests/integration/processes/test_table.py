import os
import subprocess

import attrs

from journal.identity import own_identity
from orchestrator.processes import table as process_table
from orchestrator.processes.table import SPAWN_MARKER
from tests.helpers.child_scripts import LIVE_ON, PYTHON
from tests.helpers.waiting import until


def test_our_own_row_and_marker(monkeypatch):
    found = process_table.row(os.getpid())
    assert found is not None
    assert found.identity == own_identity()
    assert (found.parent_pid, found.session, found.zombie) == (os.getppid(), os.getsid(0), False)
    assert process_table.marker(os.getpid()) == ""


def test_a_long_environment_is_read_to_its_end():
    environ = {f"V{number}": "x" * 1000 for number in range(300)} | {SPAWN_MARKER: "a:1"}
    process = subprocess.Popen([*PYTHON, LIVE_ON], env=environ, stdout=subprocess.DEVNULL)
    try:
        until(lambda: process_table.marker(process.pid) == "a:1")
        assert process_table._psutil_marker(process.pid) == "a:1"
    finally:
        process.kill()
        process.wait()


def test_nobody_has_neither_row_nor_marker():
    assert process_table.row(10_000_001) is None
    assert process_table._psutil_row(10_000_001) is None
    assert process_table.marker(10_000_001) == process_table._psutil_marker(10_000_001) == ""


def test_a_zombie_has_a_row():
    process = subprocess.Popen(["/bin/true"])
    until(lambda: (one := process_table.row(process.pid)) and one.zombie)
    found = process_table.row(process.pid)
    assert found is not None
    assert found.start_ticks >= own_identity().start_ticks
    assert process_table._psutil_row(process.pid) == attrs.evolve(found, start_ticks=0)
    process.wait()


def test_both_ways_of_reading_it_agree():
    assert process_table._psutil_row(os.getpid()) == process_table.row(os.getpid())
