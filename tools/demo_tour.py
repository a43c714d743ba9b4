"""The tour behind `tools/demo`: three environments in a temporary workspace, and all that can be asked of them once.

Everything is done by the installed commands, as a user would; what is shown live is read from the journal and asked of
the port.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from comfyui_stand_in.environment import free_port
from comfyui_stand_in.install import install, make_python
from demo_screen import Screen
from orchestrator.reading import follow_state
from projections.state import WorkspaceState

BROKEN = {
    "die_at_start": 7,
    "die_message": "ImportError: cannot import name 'Sampler' from 'nodes'",
    "die_delay_s": 0.4,
}
ENVIRONMENTS: dict[str, dict[str, object] | None] = {"stable": None, "nightly": None, "broken": BROKEN}
StateTest = Callable[[WorkspaceState], bool]


class DemoError(Exception):
    """A step did not end as it should."""


class Tour:
    """One tour through one workspace."""

    step_limit_s = 25.0
    """A step that takes longer has gone wrong: the slowest takes 5 s."""
    to_play_with: tuple[str, ...] = ("switch stable --wait", "switch broken --wait", "rollback --dry-run")
    """Commands that do something in a workspace that was kept."""

    def __init__(self, root: Path, screen: Screen) -> None:
        """`root` is an empty folder of its own."""
        self.root = root
        self.port = free_port()
        self._screen = screen

    def build(self) -> None:
        """The workspace: three environments, each with a Python of its own."""
        with self._screen.step("build a workspace with three environments"):
            (self.root / ".metadata").mkdir()
            for name, orders in ENVIRONMENTS.items():
                folder = self.root / "environments" / name
                install(folder / "ComfyUI", orders)
                make_python(folder / ".venv")

    def go(self) -> None:
        """Start, restart, switch, a switch that fails, its story, the proof."""
        with self._screen.step("start environment stable"):
            self.run("orchestrator", "spawn", "--environment", "stable", "--args", "--port", str(self.port))
            self.watch_until(lambda state: state.serving == "stable")
        with self._screen.step("ComfyUI asks for a restart (it leaves with 42)"):
            first = self.watch_until(lambda state: state.main is not None).main
            self.ask("/stand_in/exit", {"code": 42})
            self.watch_until(lambda state: state.serving == "stable" and state.main != first)
        with self._screen.step("switch to nightly"):
            self.switch("nightly", expected="complete")
        with self._screen.step("switch to broken, which dies at start: rolled back"):
            self.switch("broken", expected="rolled_back")

    def story(self) -> None:
        """What the journal tells of the failure, and that every file says what it says."""
        self._screen.say("\n$ comfygit-journal explain\n" + self.run("journal", "explain", statuses=(0, 1)))
        self._screen.say("$ comfygit-journal replay\n" + self.run("journal", "replay"))

    def switch(self, target: str, *, expected: str) -> None:
        """Switch, and see that it ends as expected with somebody answering."""
        command = self.command("orchestrator", "switch", target, "--wait", "--json", "--workspace", str(self.root))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as asking:
            before = len(next(self.states()).switches)
            self.watch_until(lambda state: len(state.switches) > before and state.job is None and bool(state.serving))
            answer = json.loads(asking.communicate()[0])
        if answer["outcome"] != expected:
            message = f"the switch to {target} ended {answer['outcome']} instead of {expected}: {answer['error']}"
            raise DemoError(message)

    def watch_until(self, reached: StateTest) -> WorkspaceState:
        """Show what happens until the state is as wanted."""
        for state in self.states():
            self._screen.show(state, self.who_answers())
            if reached(state):
                return state
            if self._screen.step_took_s() > self.step_limit_s:
                break
        message = f"this took more than {self.step_limit_s:g} s; look at {self.root}/.metadata/orchestrator.log"
        raise DemoError(message)

    def states(self) -> Iterator[WorkspaceState]:
        """The state whenever it changes."""
        return follow_state(self.root / ".metadata" / "journal.db")

    def who_answers(self) -> str:
        """Who answers on ComfyUI's port at this moment."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stand_in/environ", timeout=0.2) as response:
                about = json.load(response)
        except (OSError, ValueError, urllib.error.URLError):
            return "nobody"
        return f"{Path(about['cwd']).parent.name}, pid {about['pid']}"

    def ask(self, path: str, body: dict[str, object]) -> None:
        """Post to the stand-in, as a page would."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own port
            pass

    def run(self, tool: str, *arguments: str, statuses: tuple[int, ...] = (0,)) -> str:
        """Run one of the installed commands; its output. Raises DemoError with what it said."""
        ours, dashes, theirs = partition(arguments, "--args")
        command = self.command(tool, *ours, "--workspace", str(self.root), *dashes, *theirs)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode not in statuses:
            message = f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}{done.stdout}"
            raise DemoError(message)
        return done.stdout

    def command(self, tool: str, *arguments: str) -> list[str]:
        """The command line of an installed command."""
        return [str(Path(sys.executable).with_name(f"comfygit-{tool}")), *arguments]

    def stop(self) -> None:
        """Nothing is left running."""
        with contextlib.suppress(DemoError, subprocess.SubprocessError):
            self.run("orchestrator", "stop")


def partition(arguments: tuple[str, ...], mark: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What stands before `mark`, the mark if it is there, and what stands after it."""
    if mark not in arguments:
        return arguments, (), ()
    at = arguments.index(mark)
    return arguments[:at], (mark,), arguments[at + 1 :]


def play_with(root: Path, port: int, commands: Iterable[str]) -> str:
    """The commands to go on with, in a workspace that was kept."""
    folder = Path(sys.executable).parent
    asking = "\n".join(f"  {folder}/comfygit-orchestrator {command} --workspace {root}" for command in commands)
    return f"""
The workspace and its orchestrator stay up:  {root}
ComfyUI (a stand-in) answers on http://127.0.0.1:{port}/

  {folder}/comfygit-orchestrator status --workspace {root}
{asking}
  {folder}/comfygit-journal log -f --workspace {root}
  {folder}/comfygit-journal switches --workspace {root}

When you have seen enough:
  {folder}/comfygit-orchestrator stop --workspace {root} && rm -r {root}"""


WHERE_NEXT = """
Nothing is left running, and the workspace is gone. Where to look next:
  tools/demo --keep            the same, and the workspace stays up for you to play with
  tools/demo --comfygit        an update breaks a real ComfyGit environment, and is taken back
  README.md                    what it is and how it is used
  docs/architecture.md         how it works
  docs/events.md               everything that a journal can tell"""


def _comfygit_tour(root: Path, screen: Screen) -> Tour:
    """Imported only here: comfygit-core takes 0.6 s."""
    from demo_comfygit import ComfyGitTour

    return ComfyGitTour(root, screen)


def main(argv: list[str]) -> int:
    """Run the tour; 0 when everything went as it should."""
    parser = argparse.ArgumentParser(
        prog="tools/demo", description="Start, restart, switch, and a switch that fails and rolls back, live."
    )
    parser.add_argument("--keep", action="store_true", help="leave workspace and orchestrator up, to play with")
    parser.add_argument(
        "--comfygit",
        action="store_true",
        help="on two real ComfyGit environments: an update breaks one, and its last healthy content comes back",
    )
    options = parser.parse_args(argv)
    keep: bool = options.keep
    root = Path(tempfile.mkdtemp(prefix="comfygit-demo-"))
    screen = Screen()
    tour = _comfygit_tour(root, screen) if options.comfygit else Tour(root, screen)
    kept = False
    try:
        with screen:
            tour.build()
            tour.go()
        tour.story()
        kept = keep
    except DemoError as error:
        screen.say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not kept:
            tour.stop()
            shutil.rmtree(root, ignore_errors=True)
    screen.say(play_with(root, tour.port, tour.to_play_with) if kept else WHERE_NEXT)
    return 0
