import os
import subprocess
import sys
from pathlib import Path

import attrs
import psutil
import pytest

from journal.identity import Identity, identify, is_alive
from orchestrator.processes.children import Children, Exit
from orchestrator.processes.tree import Ties, kin, members, tree
from tests.helpers.child_scripts import DEAF, JOURNAL, KEY, LIVE_ON, PYTHON, end
from tests.helpers.waiting import until

PLANT = """
import os, signal, subprocess, sys
python, log, live_on, shapes = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
command = [python, "-I", "-S", "-c", live_on]
for shape in shapes:
    if shape == "child":
        subprocess.Popen(command)
    elif shape == "cleared":  # no environment, same session
        subprocess.Popen(command, env={})
    elif shape == "setsid":
        subprocess.Popen(command, start_new_session=True)
    elif shape == "setsid cleared below":  # a session of its own, and in it one without an environment
        inner = f"import os, subprocess; subprocess.Popen({command!r}, env={{}})\\n" + live_on
        subprocess.Popen([python, "-I", "-S", "-c", inner], start_new_session=True)
    elif shape == "double fork":
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv(python, command)
            os._exit(0)
        os.wait()
print("planted", flush=True)
"""

FORK_ON = """
import os, time
while True:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    elif os.fork() == 0:
        os.setsid()
        time.sleep(0.05)
        os._exit(0)
    else:
        os._exit(0)
"""

LOOK_FROM_INSIDE = f"""
import os, sys
from orchestrator.processes.table import row
from orchestrator.processes.tree import Ties, kin, members
root = row(int(sys.argv[1])).identity
marked = members(root, Ties('{JOURNAL}:{KEY}'))
print(marked == (root,), members(root, Ties(''))[0] == root, os.getppid() in kin(), flush=True)
"""
"""An orchestrator that looks at the tree it descends from: ComfyUI, guard, itself."""
GUARD = f"""
import subprocess, sys
subprocess.run([{sys.executable!r}, '-c', {LOOK_FROM_INSIDE!r}, sys.argv[1]], check=True)
"""
PANEL = f"""
import os, subprocess
subprocess.run([*{PYTHON!r}, {GUARD!r}, str(os.getpid())], start_new_session=True, check=True)
"""
SHAPES = {"child": 1, "cleared": 1, "setsid": 1, "setsid cleared below": 2, "double fork": 1}


def plant(children: Children, log: Path, *shapes: str, end: str = LIVE_ON, leaf: str = LIVE_ON) -> Identity:
    """A root with descendants of these shapes, all of them ready."""
    command = [*PYTHON, PLANT + end, sys.executable, str(log), leaf, *shapes]
    identity = children.spawn(KEY, command, cwd=Path("/"), environ=os.environ, log=log)
    ready = sum(SHAPES[shape] for shape in shapes) + ("ready" in end)
    until(lambda: log.exists() and log.read_text().count("ready\n") == ready)
    return identity


class TestWholeTree:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_every_shape_of_descendant_belongs_to_its_living_root(self, children, tmp_path, shape):
        root = plant(children, tmp_path / "log", shape)
        found = tree(root)
        assert found[0] == root
        assert len(found) == 1 + SHAPES[shape]
        assert found == members(root, Ties(f"{JOURNAL}:{KEY}"))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_what_outlives_its_root_is_found_and_ended(self, children, tmp_path, shape):
        root = plant(children, tmp_path / "log", shape, end="", leaf=DEAF + LIVE_ON)
        assert until(lambda: children.poll(KEY)) == Exit(0, "", known=True)
        survivors = children.survivors(KEY)
        assert len(survivors) == SHAPES[shape]
        assert root not in survivors
        assert children.signal(root, KEY, "SIGTERM", whole_tree=True) == SHAPES[shape]
        assert children.survivors(KEY) == survivors
        assert children.signal(root, KEY, "SIGKILL", whole_tree=True) == SHAPES[shape]
        until(lambda: not children.survivors(KEY))
        until(lambda: not any(is_alive(one) for one in survivors))  # one that was cut off from the rest dies unseen

    def test_after_kill_9_of_the_root_all_shapes_at_once_are_found_also_by_the_next_orchestrator(
        self, children, tmp_path
    ):
        root = plant(children, tmp_path / "log", *SHAPES)
        assert children.signal(root, KEY, "SIGKILL", whole_tree=False) == 1
        assert until(lambda: children.poll(KEY)) == Exit(None, "SIGKILL", known=True)
        expected = children.survivors(KEY)
        assert len(expected) == sum(SHAPES.values())
        successor = Children(JOURNAL)
        successor.adopt(KEY, root)
        assert successor.poll(KEY) == Exit(None, "", known=False)
        assert successor.survivors(KEY) == expected
        assert successor.signal(root, KEY, "SIGKILL", whole_tree=True) == len(expected)
        until(lambda: not successor.survivors(KEY))
        successor.close()

    @pytest.mark.parametrize(("shapes", "found"), [(["cleared"], 0), (["cleared", "child"], 2)])
    def test_the_session_of_a_root_that_nobody_saw_end_is_believed_only_with_a_mark(
        self, children, tmp_path, shapes, found
    ):
        """Its pid was free meanwhile, and may be the number of a stranger's session by now."""
        root = plant(children, tmp_path / "log", *shapes, end="")
        until(lambda: children.poll(KEY))
        seen = children.survivors(KEY)
        assert len(seen) == len(shapes)
        children.forget(KEY)
        successor = Children(JOURNAL, cgroups=False)
        successor.adopt(KEY, root)
        assert len(successor.survivors(KEY)) == found
        end(*seen)
        successor.close()

    def test_a_tree_that_keeps_forking_is_ended(self, children, tmp_path):
        root = plant(children, tmp_path / "log", end=FORK_ON)
        until(lambda: len(tree(root)) > 2)

        def ended() -> bool:
            children.signal(root, KEY, "SIGKILL", whole_tree=True)
            return not children.survivors(KEY) and not is_alive(root)

        assert until(ended)

    def test_a_neighbour_with_another_key_is_left_alone(self, children, tmp_path):
        first = plant(children, tmp_path / "log", "setsid")
        second = children.spawn(KEY + 1, [*PYTHON, LIVE_ON], cwd=Path("/"), environ=os.environ, log=tmp_path / "second")
        assert second not in tree(first)
        assert tree(second) == (second,)
        assert children.signal(first, KEY, "SIGKILL", whole_tree=True) == 2
        assert is_alive(second)

    def test_what_a_process_in_our_own_session_started_is_found_but_not_its_neighbours(self, tmp_path):
        """A ComfyUI started by hand in a terminal: its session is the terminal's."""
        plain = subprocess.Popen(
            [*PYTHON, f"import subprocess; subprocess.Popen([*{PYTHON!r}, {LIVE_ON!r}]); {LIVE_ON}"],
            stdout=subprocess.DEVNULL,
        )
        neighbour = subprocess.Popen([*PYTHON, LIVE_ON], stdout=subprocess.DEVNULL)
        try:
            root = identify(plain.pid)
            assert root is not None
            found = until(lambda: tree(root) if len(tree(root)) == 2 else ())
            assert neighbour.pid not in {one.pid for one in found}
            assert os.getpid() not in {one.pid for one in found}
        finally:
            for child in psutil.Process(plain.pid).children():
                child.kill()
            plain.kill()
            neighbour.kill()
            plain.wait()
            neighbour.wait()

    def test_a_marker_that_was_only_inherited_does_not_make_a_tree(self, children, tmp_path):
        """A helper of a ComfyUI, asked about by itself, is not the whole ComfyUI."""
        root = plant(children, tmp_path / "log", "child", "setsid")
        helper = next(one for one in tree(root) if os.getsid(one.pid) == root.pid and one != root)
        assert tree(helper) == (helper,)

    def test_of_the_dead_another_boot_and_nobody_there_is_no_tree(self, children, tmp_path):
        root = plant(children, tmp_path / "log")
        assert members(attrs.evolve(root, boot_id="another"), Ties(f"{JOURNAL}:{KEY}")) == ()
        children.signal(root, KEY, "SIGKILL", whole_tree=False)
        until(lambda: children.poll(KEY))
        assert tree(root) == ()


class TestOrchestratorInsideTheTree:
    def test_we_and_our_ancestors_are_spared_although_we_carry_the_marker(self, children, tmp_path):
        """Our panel, inside a ComfyUI of ours, started this orchestrator: it descends from what it has to stop."""
        log = tmp_path / "log"
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        children.spawn(KEY, [*PYTHON, PANEL], cwd=Path("/"), environ=environ, log=log)
        assert until(lambda: children.poll(KEY)) == Exit(0, "", known=True), log.read_text()
        assert log.read_text() == "True True True\n"

    def test_kin_are_ourselves_our_ancestors_and_init(self):
        assert {os.getpid(), os.getppid(), 1, 0} <= kin()
