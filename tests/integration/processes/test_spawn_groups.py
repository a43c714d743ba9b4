"""The cgroup of a start: made, found again, killed and removed; and who is never killed by it. Real ones, where we may."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from journal.identity import identify, is_alive
from orchestrator.processes import cgroups
from orchestrator.processes.cgroups import folder_in, mount_in
from orchestrator.processes.children import Children, Exit
from orchestrator.processes.spawn_groups import SpawnGroups
from orchestrator.processes.table import NOBODYS, SPAWN_MARKER, cgroup, group_name, spawn_group
from tests.helpers.child_scripts import JOURNAL, KEY, LIVE_ON, PYTHON, end, exit_of, start, wait_for_line
from tests.helpers.hiding import HIDE_WELL, IN_ITS_GROUP, PAUSE, hide, may_make_groups, with_our_modules
from tests.helpers.waiting import until

MARK = f"{JOURNAL}:{KEY}"
NAME = group_name(MARK)

needs_groups = pytest.mark.skipif(not may_make_groups(), reason="no cgroup may be made here: doing without is tested")

ORCHESTRATOR = f"""if True:
    import os, signal, sys
    from pathlib import Path
    from journal.identity import identify, is_alive
    from orchestrator.processes import cgroups
    from orchestrator.processes.children import Children
    from orchestrator.processes.detach import spawn_detached
    from orchestrator.processes.table import spawn_group
    from tests.helpers.child_scripts import *
    from tests.helpers.hiding import *
    from tests.helpers.waiting import until
    JOURNAL = {JOURNAL!r}
"""


def own_group() -> Path:
    found = cgroups.own_group()
    assert found is not None
    return found


def group() -> Path:
    return own_group() / NAME


def inside_a_comfyui(children: Children, log: Path, script: str) -> str:
    """What `script` said, as a program that a ComfyUI of ours started as its child; that one's pid is its argument."""
    comfyui = f"""if True:
        import os, subprocess, sys
        {IN_ITS_GROUP.strip()}
        subprocess.run([{sys.executable!r}, '-c', {ORCHESTRATOR + script!r}, str(os.getpid())])
    """
    children.spawn(KEY, [*PYTHON, comfyui], cwd=Path("/"), environ=with_our_modules(), log=log)
    return wait_for_line(log, "said ").removeprefix("said ")


@needs_groups
def test_a_start_is_in_a_group_of_its_own_below_ours_which_goes_with_it(children, log):
    identity = start(children, log, LIVE_ON)
    until(lambda: spawn_group(identity.pid) == NAME)
    assert group().is_dir()
    assert spawn_group(os.getpid()) == ""
    children.signal(identity, KEY, "SIGKILL", whole_tree=True)
    exit_of(children)
    children.forget(KEY)
    assert not group().exists()


@needs_groups
def test_what_was_forked_before_the_move_follows(children, log):
    command = ["/bin/sh", "-c", "sleep 300 & sleep 301 & echo $!; wait"]
    identity = children.spawn(KEY, command, cwd=Path("/"), environ={}, log=log)
    wait_for_line(log, "")
    assert len(children._groups.pids(KEY)) == 3
    assert identity.pid in children._groups.pids(KEY)


@needs_groups
def test_one_that_ends_at_once_and_is_forgotten_leaves_no_group(children, log):
    for key in range(100, 110):
        children.spawn(key, ["/bin/true"], cwd=Path("/"), environ={}, log=log.with_name(f"{key}.log"))
        until(lambda: children.poll(key))  # noqa: B023
        children.forget(key)
    assert not list(own_group().glob(f"comfygit-{JOURNAL}-*"))


@needs_groups
def test_a_group_with_life_in_it_stays_and_goes_with_a_later_one(children, log):
    identity = start(children, log, LIVE_ON)
    wait_for_line(log, "ready")
    children.forget(KEY)
    assert group().is_dir()
    end(identity)
    os.waitpid(identity.pid, 0)
    children.spawn(8, ["/bin/true"], cwd=Path("/"), environ={}, log=log.with_name("8.log"))
    until(lambda: children.poll(8))
    children.forget(8)
    assert not group().exists()


@needs_groups
def test_the_next_orchestrator_removes_empty_groups_of_its_own_journal(children, log):
    identity = start(children, log, LIVE_ON)
    until(lambda: spawn_group(identity.pid) == NAME)
    other = own_group() / f"comfygit-{uuid.uuid4().hex}-7"
    empty = own_group() / f"comfygit-{JOURNAL}-5"
    for one in (other, empty, empty / "made by a container"):
        one.mkdir()
    try:
        Children(JOURNAL).close()
        assert not empty.exists()
        assert group().exists()
        assert other.exists()
    finally:
        other.rmdir()


@needs_groups
def test_the_next_orchestrator_finds_what_hides_in_the_group_also_when_it_was_started_elsewhere(children, tmp_path):
    elsewhere = own_group() / f"elsewhere-{uuid.uuid4().hex}"
    elsewhere.mkdir()
    log = tmp_path / "7.log"
    script = f"""
    cgroups.write(Path({str(elsewhere)!r}, 'cgroup.procs'), os.getpid())
    children = Children(JOURNAL)
    root, hidden = hide(children, KEY, Path({str(log)!r}), IN_ITS_GROUP + HIDE_WELL + PAUSE)
    print(root.pid, *(one.pid for one in hidden), flush=True)
    os.kill(root.pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    command = [sys.executable, "-c", ORCHESTRATOR + script]
    died = subprocess.run(command, capture_output=True, text=True, check=False, env=with_our_modules())
    assert died.returncode == -signal.SIGKILL, died.stderr
    root, *hidden = map(int, died.stdout.split())
    identities = [identity for pid in hidden if (identity := identify(pid)) is not None]
    first = identities[0]
    until(lambda: identify(root) is None)
    try:
        children.adopt(KEY, type(first)(root, first.start_ticks, first.boot_id))
        assert set(children.survivors(KEY)) == set(identities)
        assert len(identities) == 4
        children.signal(first, KEY, "SIGKILL", whole_tree=True)
        until(lambda: not any(map(is_alive, identities)))
        until(lambda: not cgroups.pids(elsewhere))
        children.forget(KEY)
    finally:
        end(*identities)
        until(lambda: not cgroups.remove([elsewhere]))


@needs_groups
def test_what_keeps_forking_is_ended_by_one_kill_of_the_group(children, log):
    script = """if True:
        import os, time
        while True:
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.execve("/bin/sleep", ["sleep", "0.05"], {}) if os.fork() else None
            else:
                os.wait()
    """
    identity = start(children, log, IN_ITS_GROUP + script)
    until(lambda: len(children._groups.pids(KEY)) > 5)
    children._groups.kill(KEY, MARK)
    until(lambda: not children._groups.pids(KEY))
    assert exit_of(children) == Exit(None, "SIGKILL", known=True)
    assert not is_alive(identity)


@needs_groups
class TestWhoIsSpared:
    def test_an_orchestrator_and_its_guard_leave_the_group_that_they_were_started_in(self, children, log):
        script = """
    before = spawn_group(os.getpid()), spawn_group(os.getppid())
    ours = Children(JOURNAL)
    ours.guard = identify(os.getppid())  # here it is the ComfyUI itself: what counts is that it is moved
    print("said", before == ("NAME", "NAME"), [spawn_group(os.getpid()), spawn_group(os.getppid())], flush=True)
        """.replace("NAME", NAME)
        assert inside_a_comfyui(children, log, script) == "True ['', '']"

    def test_one_that_is_in_the_group_all_the_same_is_not_killed_with_it(self, children, log):
        script = """
    root = identify(int(sys.argv[1]))
    ours = Children(JOURNAL)
    ours.adopt(KEY, root)
    cgroups.write(cgroups.own_group() / "NAME" / "cgroup.procs", os.getpid())
    inside = spawn_group(os.getpid()) == "NAME"
    ended = ours.signal(root, KEY, "SIGKILL", whole_tree=True)
    until(lambda: not is_alive(root))
    print("said", inside, ended, flush=True)
        """.replace("NAME", NAME)
        assert inside_a_comfyui(children, log, script) == "True 1"

    def test_groups_are_not_made_in_the_group_of_the_comfyui_that_we_were_started_from(self, children, log):
        script = """
    ours = Children("abc0")
    child = ours.spawn(9, ["/bin/sleep", "300"], cwd=Path("/"), environ={}, log=Path("LOG"))
    until(lambda: spawn_group(child.pid) == "comfygit-abc0-9")
    from orchestrator.processes.table import cgroup
    print("said", cgroup(child.pid), flush=True)
    ours.signal(child, 9, "SIGKILL", whole_tree=True)
    until(lambda: ours.poll(9))
    ours.forget(9)
        """.replace("LOG", str(log.with_name("9.log")))
        assert inside_a_comfyui(children, log, script) == f"{cgroup(os.getpid()).rstrip('/')}/comfygit-abc0-9"

    def test_what_comfyui_detached_is_neither_in_its_group_nor_ended_with_it(self, children, log):
        script = """
    command = [*PYTHON, LIVE_ON]
    pid = spawn_detached(command, log=Path("LOG"), environ=os.environ, cwd=Path("/"))
    print("said", pid, [spawn_group(pid)], flush=True)
    signal.pause()
        """.replace("LOG", str(log.with_name("detached.log")))
        pid, *where = inside_a_comfyui(children, log, script).split()
        detached = identify(int(pid))
        assert detached is not None
        try:
            assert where == ["['']"]
            children.signal(children._children[KEY].identity, KEY, "SIGKILL", whole_tree=True)
            exit_of(children)
            until(lambda: not children._groups.pids(KEY))
            assert is_alive(detached)
            assert children.survivors(KEY) == ()
        finally:
            end(detached)

    @pytest.mark.parametrize("mark", [NOBODYS, f"{JOURNAL}:{KEY + 1}"], ids=["nobodys", "another start"])
    def test_one_in_the_group_with_another_mark_lives_on(self, children, log, mark):
        identity = start(children, log, LIVE_ON)
        until(lambda: spawn_group(identity.pid) == NAME)
        other = subprocess.Popen(["/bin/sleep", "300"], env={SPAWN_MARKER: mark})
        try:
            cgroups.write(group() / "cgroup.procs", other.pid)
            assert spawn_group(other.pid) == NAME
            assert children.signal(identity, KEY, "SIGKILL", whole_tree=True) == 1
            exit_of(children)
            assert children.survivors(KEY) == ()
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


class TestWithoutGroups:
    """What an orchestrator is left with where none can be made."""

    @pytest.fixture
    def without(self):
        made = Children(JOURNAL, cgroups=False)
        yield made
        made.close()

    def test_it_starts_and_stops_as_ever(self, without, log):
        root, hidden = hide(without, KEY, log, HIDE_WELL.removesuffix("os.waitpid(forked(orphan, {}), 0)\n") + PAUSE)
        assert spawn_group(root.pid) == ""
        assert without.signal(root, KEY, "SIGKILL", whole_tree=True) == 1 + len(hidden)
        assert exit_of(without) == Exit(None, "SIGKILL", known=True)

    def test_a_group_that_cannot_be_made_is_done_without(self, children, log):
        children._groups._base = Path("/proc/self/no such folder")
        start(children, log, "raise SystemExit(3)")
        assert exit_of(children).code == 3
        children.forget(KEY)

    @pytest.mark.parametrize("journal", ["../x", "", "A/B", "abc-1"])
    def test_a_name_that_is_none_of_ours_makes_no_group(self, journal):
        groups = SpawnGroups(journal)
        groups.take_in(7, 2**22)
        assert groups.pids(7) == frozenset()
        groups.release(7)


class TestWhereCgroupsAre:
    LINE = "41 31 0:38 {root} {place} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
    OTHER = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"

    def test_the_mount_is_found_among_others(self):
        text = self.OTHER + self.LINE.format(root="/", place="/sys/fs/cgroup/uni\\040fied")
        assert mount_in(text) == (Path("/sys/fs/cgroup/uni fied"), "/")
        assert mount_in(self.OTHER) is None
        assert mount_in("") is None

    @pytest.mark.parametrize(
        ("root", "path", "folder"),
        [
            ("/", "/", "/sys/fs/cgroup"),
            ("/", "/user.slice/a.scope", "/sys/fs/cgroup/user.slice/a.scope"),
            ("/docker/abc", "/docker/abc", "/sys/fs/cgroup"),
            ("/docker/abc", "/docker/abc/x", "/sys/fs/cgroup/x"),
            ("/docker/abc", "/docker/abcd", None),
            ("/docker/abc", "/", None),
            ("/", "/../outside", None),
        ],
    )
    def test_a_group_is_seen_below_the_mount_or_not_at_all(self, root, path, folder):
        found = folder_in((Path("/sys/fs/cgroup"), root), path)
        assert found == (None if folder is None else Path(folder))

    def test_a_process_that_is_gone_is_in_no_group(self):
        assert cgroup(2**22 + 1) == ""
        assert spawn_group(2**22 + 1) == ""
