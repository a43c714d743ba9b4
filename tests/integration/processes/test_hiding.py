"""Descendants that left the session, lost their parent and cleared their environment: found by cgroup and by subreaper."""

import os
import subprocess

import attrs
import pytest

from journal.identity import identify, is_alive
from orchestrator.processes.children import Children
from tests.helpers.child_scripts import JOURNAL, KEY, end_all
from tests.helpers.hiding import (
    HIDE,
    HIDE_WELL,
    IN_ITS_GROUP,
    LEAVE,
    PAUSE,
    below_a_subreaper,
    hide,
    may_make_groups,
    stop_many,
    with_our_modules,
)
from tests.helpers.waiting import until

STOPS = 200
FEWER_STOPS = 40


needs_groups = pytest.mark.skipif(not may_make_groups(), reason="no cgroup may be made here: the subreaper is tested")


@pytest.fixture
def without_groups():
    made = Children(JOURNAL, cgroups=False)
    yield made
    end_all(made)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def below_a_guard(script: str, *arguments: str) -> str:
    """The last line that `script` prints as an orchestrator without cgroups, below a subreaper that it knows."""
    prologue = f"""if True:
        import os, sys, time
        from pathlib import Path
        from journal.identity import identify, is_alive
        from orchestrator.processes.children import Children
        from tests.helpers.child_scripts import end
        from tests.helpers.hiding import *
        from tests.helpers.waiting import until
        children = Children({JOURNAL!r}, cgroups=False)
        children.guard = identify(os.getppid())
    """
    command = below_a_subreaper(prologue + script, *arguments)
    environ = with_our_modules()
    return last_line(subprocess.run(command, capture_output=True, text=True, env=environ, timeout=50, check=False))


@needs_groups
def test_the_cgroup_tells_whose_it_is_when_nothing_else_does(children, log):
    root, hidden = hide(children, KEY, log, IN_ITS_GROUP + HIDE_WELL + LEAVE)
    until(lambda: children.poll(KEY))
    assert set(children.survivors(KEY)) == set(hidden)
    assert children.signal(root, KEY, "SIGTERM", whole_tree=True) == len(hidden)
    assert set(children.survivors(KEY)) == set(hidden)
    assert children.signal(root, KEY, "SIGKILL", whole_tree=True) == len(hidden)
    until(lambda: not any(map(is_alive, hidden)))


def test_without_a_cgroup_and_a_subreaper_all_are_found_that_kept_session_parent_or_environment(without_groups, log):
    root, hidden = hide(without_groups, KEY, log, HIDE + LEAVE)
    until(lambda: without_groups.poll(KEY))
    assert set(without_groups.survivors(KEY)) == set(hidden)
    without_groups.signal(root, KEY, "SIGKILL", whole_tree=True)
    until(lambda: not any(map(is_alive, hidden)))


def test_the_subreaper_has_the_orphans_that_nothing_else_ties_to_their_start(tmp_path):
    script = """
        root, hidden = hide(children, 7, Path(sys.argv[1]), HIDE_WELL + LEAVE)
        until(lambda: children.poll(7))
        found = set(children.survivors(7)) == set(hidden)
        children.signal(root, 7, "SIGKILL", whole_tree=True)
        until(lambda: not any(map(is_alive, hidden)))
        print(found, children.survivors(7))
    """
    assert below_a_guard(script, str(tmp_path / "7.log")) == "True ()"


def test_an_orphan_that_is_older_or_carries_the_mark_of_another_start_is_not_taken_for_ours(tmp_path):
    script = """
        _, older = hide(children, 5, Path(sys.argv[1]), HIDE_WELL + LEAVE)
        later_tick = max(one.start_ticks for one in older) / os.sysconf("SC_CLK_TCK") + 0.02
        until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > later_tick)
        root, own = hide(children, 7, Path(sys.argv[2]), HIDE_WELL + LEAVE)
        _, later = hide(children, 9, Path(sys.argv[3]), HIDE + LEAVE)
        [until(lambda: children.poll(key)) for key in (5, 7, 9)]
        marked_later = {one for one in later if b"COMFYGIT" in Path(f"/proc/{one.pid}/environ").read_bytes()}
        found = set(children.survivors(7))
        print(found >= set(own), len(marked_later), found & (set(older) | marked_later))
        end(*older, *own, *later)
    """
    logs = [str(tmp_path / f"{number}.log") for number in (5, 7, 9)]
    assert below_a_guard(script, *logs) == "True 2 set()"


@needs_groups
def test_the_cgroup_tells_two_starts_apart_whose_orphans_the_subreaper_has(tmp_path):
    script = """
        children = Children(children._journal_id)
        children.guard = identify(os.getppid())
        root, own = hide(children, 7, Path(sys.argv[1]), IN_ITS_GROUP + HIDE_WELL + LEAVE)
        _, other = hide(children, 9, Path(sys.argv[2]), IN_ITS_GROUP + HIDE_WELL + LEAVE)
        [until(lambda: children.poll(key)) for key in (7, 9)]
        print(set(children.survivors(7)) == set(own), set(children.survivors(9)) == set(other))
        end(*own, *other)
    """
    assert below_a_guard(script, *(str(tmp_path / f"{number}.log") for number in (7, 9))) == "True True"


def test_another_owner_of_the_guards_pid_is_no_guard(without_groups, log):
    me = identify(os.getpid())
    assert me is not None
    without_groups.guard = identify(os.getppid())
    assert without_groups.guard is not None
    root, hidden = hide(without_groups, KEY, log, HIDE + PAUSE)
    bystander = subprocess.Popen(["/bin/sleep", "300"], env={})
    try:
        without_groups.guard = attrs.evolve(me, start_ticks=me.start_ticks - 1)
        without_groups.signal(root, KEY, "SIGKILL", whole_tree=True)
        until(lambda: not any(map(is_alive, hidden)))
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.slow
@pytest.mark.scenario("B-30")
def test_200_stops_leave_nobody(tmp_path):
    """As it is below a guard: the cgroup where there is one, the subreaper for what left before it was moved there."""
    script = """
        children = Children(children._journal_id)
        children.guard = identify(os.getppid())
        print(stop_many(children, Path(sys.argv[1]), int(sys.argv[2])))
    """
    assert below_a_guard(script, str(tmp_path), str(STOPS)) == "0"


@needs_groups
@pytest.mark.slow
@pytest.mark.scenario("B-30")
def test_nor_does_a_cgroup_alone(children, tmp_path):
    assert stop_many(children, tmp_path, FEWER_STOPS, IN_ITS_GROUP) == 0


@pytest.mark.slow
@pytest.mark.scenario("B-30")
def test_nor_does_a_subreaper_alone(tmp_path):
    script = """
        print(stop_many(children, Path(sys.argv[1]), int(sys.argv[2])))
    """
    assert below_a_guard(script, str(tmp_path), str(FEWER_STOPS)) == "0"
