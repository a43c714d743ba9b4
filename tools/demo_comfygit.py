"""The tour behind `tools/demo --comfygit`: two real ComfyGit environments, an update that breaks one in place, the way back.

The environments are made with comfygit-core and git, and synced with a real resolve; only ComfyUI is a stand-in.
"""

import hashlib
from pathlib import Path

from comfyui_stand_in.comfygit import git, make_environment, make_workspace, release_node
from demo_screen import Screen
from demo_tour import DemoError, Tour

GOOD_NODE = "NODE_CLASS_MAPPINGS = {}\n"
BROKEN_NODE = 'raise SystemExit("sampler 2.0 needs a newer ComfyUI")\n'
NODE = "sampler"
UNTRACKED, WORKFLOW = "custom_nodes/my-own/__init__.py", "user/default/workflows/mine.json"


class ComfyGitTour(Tour):
    """One tour through one workspace of real ComfyGit environments."""

    step_limit_s = 120.0
    """The first sync of an environment downloads what it installs."""
    to_play_with = ("switch beta --wait", "generations", "rollback --dry-run", "rollback")

    def __init__(self, root: Path, screen: Screen) -> None:
        """`root` is an empty folder of its own."""
        super().__init__(root, screen)
        self._before: dict[str, str] = {}

    @property
    def _alpha(self) -> Path:
        return self.root / "environments" / "alpha"

    def build(self) -> None:
        """The workspace: two environments with a manifest repository each, other packages, and a tracked custom node."""
        with self._screen.step("build a workspace with two ComfyGit environments (comfygit-core, git)"):
            make_workspace(self.root)
            make_environment(self.root, "alpha", ["iniconfig==2.0.0"], {NODE: GOOD_NODE})
            make_environment(self.root, "beta", ["colorama"])

    def go(self) -> None:
        """Start, switch there and back, work, an update that breaks, and the way back that nobody asked for."""
        with self._screen.step("start environment alpha (its first sync installs its packages)"):
            self.run("orchestrator", "spawn", "--environment", "alpha", "--args", "--port", str(self.port))
            self.watch_until(lambda state: state.serving == "alpha" and all(g.kept for g in state.generations))
        with self._screen.step("switch to beta"):
            self.switch("beta", expected="complete")
        with self._screen.step("switch back to alpha (nothing changed: no sync)"):
            self.switch("alpha", expected="complete")
        with self._screen.step("somebody works in alpha: an untracked node, a workflow, a note in the manifest"):
            self._work()
        with self._screen.step(f"{NODE} is updated in place, and breaks: restart, and back to what was healthy"):
            self._update()
            before = len(next(self.states()).switches)
            self.run("orchestrator", "restart")
            self.watch_until(lambda state: len(state.switches) > before and state.job is None)
        with self._screen.step("look at what is there: ComfyUI answers, and nothing of anybody's is lost"):
            self._look()

    def _work(self) -> None:
        for name, text in ((UNTRACKED, "# mine\nNODE_CLASS_MAPPINGS = {}\n"), (WORKFLOW, '{"nodes": ["mine"]}\n')):
            path = self._alpha / "ComfyUI" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            self._before[name] = _digest(path)
        manifest = self._alpha / ".cec" / "pyproject.toml"
        manifest.write_text(manifest.read_text("utf-8") + "\n# to do: try the new sampler\n", "utf-8")

    def _update(self) -> None:
        """As an update of a node does it: the newer commit in its folder and in the manifest, and a package it wants."""
        manifest = self._alpha / ".cec" / "pyproject.toml"
        node = self._alpha / "ComfyUI" / "custom_nodes" / NODE
        old = git(node, "rev-parse", "HEAD")
        new = release_node(self.root, NODE, BROKEN_NODE)
        git(node, "pull", "--quiet")
        text = manifest.read_text("utf-8").replace(old, new).replace("iniconfig==2.0.0", "iniconfig==2.1.0")
        manifest.write_text(text, "utf-8")
        self._before["manifest"] = _digest(manifest)

    def _look(self) -> None:
        state = next(self.states())
        if state.serving != "alpha":
            message = f"{state.serving or 'nothing'} serves instead of alpha"
            raise DemoError(message)
        for name in (UNTRACKED, WORKFLOW):
            if _digest(self._alpha / "ComfyUI" / name) != self._before[name]:
                message = f"{name} is not what it was"
                raise DemoError(message)
        saved = max(state.generations, key=lambda g: g.generation if g.evidence == "saved" else 0).generation
        kept = git(self._alpha / ".cec", "show", f"refs/comfygit-journal/{saved}:pyproject.toml") + "\n"
        if hashlib.sha256(kept.encode()).hexdigest() != self._before["manifest"]:
            message = f"generation {saved} does not hold the manifest as it was"
            raise DemoError(message)
        self._saved = saved

    def story(self) -> None:
        """What the journal tells, what there is to go back to, and what undoing it would do."""
        self._show("journal", "explain", statuses=(0, 1))
        self._show("orchestrator", "generations")
        self._show("orchestrator", "rollback", "--to", str(self._saved), "--dry-run")
        self._show("journal", "replay")

    def _show(self, tool: str, *arguments: str, statuses: tuple[int, ...] = (0,)) -> None:
        said = self.run(tool, *arguments, statuses=statuses)
        self._screen.say(f"\n$ comfygit-{tool} {' '.join(arguments)}\n{said}")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
