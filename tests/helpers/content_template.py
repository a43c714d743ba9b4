"""A ComfyGit workspace with two environments, built once and copied for each sequence of steps."""

import shutil
from pathlib import Path

import attrs

from comfyui_stand_in.comfygit import git, make_environment, make_workspace, release_node
from orchestrator.config import Config
from orchestrator.environments.core_sync_program import main as sync
from orchestrator.environments.git_content import keep, ref_of
from orchestrator.workspace import EnvironmentPaths
from tests.helpers.broken_invariant import must
from tests.helpers.content_on_disk import BREAKS, WorldOnDisk
from tests.helpers.content_owner import Owner

NAMES = ("alpha", "beta")
FOREIGN = frozenset(range(10, 40, 2))
"""Numbers of generations that another journal has given: some of them are given again."""
WORKFLOWS = ("ComfyUI/user/default/workflows", ".cec/workflows")


@attrs.frozen
class Template:
    """A workspace to copy: both environments synced and committed. `releases`: a good, a newer and a broken commit by node."""

    root: Path
    releases: dict[str, tuple[str, str, str]]

    @classmethod
    def build(cls, root: Path, uv_cache: Path) -> "Template":
        """Needs a network for uv itself, unless that is in the cache."""
        make_workspace(root, uv_cache)
        releases = {}
        for name in NAMES:
            node = f"node_{name}"
            folder = make_environment(root, name, nodes={node: "VERSION = 1\n"})
            must(sync([str(root), name]) == 0, "the first sync of {} failed", name)
            for place in WORKFLOWS:
                _write(folder / place / "one.json", f'{{"as made": "{place}"}}')
            git(folder / ".cec", "add", "--all")
            git(folder / ".cec", "commit", "--quiet", "--allow-empty", "--message", "as made")
            releases[name] = (
                git(root / "node_origins" / node, "rev-parse", "HEAD"),
                release_node(root, node, "VERSION = 2\n"),
                release_node(root, node, f"VERSION = 3\n{BREAKS.decode()}\n"),
            )
            git(folder / "ComfyUI" / "custom_nodes" / node, "fetch", "--quiet")
            foreign = keep(EnvironmentPaths(name, folder), min(FOREIGN), "another-journal", FOREIGN)
            for number in FOREIGN:
                git(folder / ".cec", "update-ref", ref_of(number), foreign)
            git(folder / ".cec", "pack-refs", "--all")
        return cls(root, releases)

    def copy(self, root: Path) -> WorldOnDisk:
        """A workspace like it, in which nothing has run yet."""
        shutil.copytree(self.root, root, symlinks=True, ignore=shutil.ignore_patterns("node_origins"))
        owners = [_owner(EnvironmentPaths(name, root / "environments" / name)) for name in NAMES]
        return WorldOnDisk(root, *owners, config=Config(probe_interval_s=0.5))


def _owner(paths: EnvironmentPaths) -> Owner:
    manifest = (paths.cec / "pyproject.toml").read_bytes()
    kept: dict[str, bytes | None] = {
        f"{place}/one.json": (paths.root / place / "one.json").read_bytes() for place in WORKFLOWS
    }
    return Owner(paths, FOREIGN, manifest, manifest, kept)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
