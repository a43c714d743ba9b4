"""Real ComfyGit workspaces and environments around the stand-in: made with comfygit-core and git, as `cg` makes them.

What `cg create` takes from the network (ComfyUI, PyTorch, the manager) is left out; the rest is the same.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from comfygit_core.core.environment import Environment
from comfygit_core.core.workspace import Workspace
from comfygit_core.models.shared import NodeInfo
from comfygit_core.utils.environment_cleanup import mark_environment_complete

from comfyui_stand_in.install import install, make_python

NO_MAPPINGS: dict[str, dict[str, object]] = {"mappings": {}, "packages": {}, "stats": {}}
ORIGINS = "node_origins"
"""Where the repositories of the custom nodes are, in the workspace."""
_IDENTITY = ("-c", "user.name=Stand-In", "-c", "user.email=stand-in@example.org", "-c", "init.defaultBranch=main")


def make_workspace(root: Path, uv_cache: Path | None = None) -> Path:
    """Make `root` a ComfyGit workspace, whatever is in it already, registry cache included; give `root`.

    With `uv_cache` its environments keep what uv downloads there, and not in the workspace.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        # Core makes a workspace of an empty folder only, and one with an orchestrator's .metadata in it is none.
        made = Workspace.create(Path(temporary, "workspace")).path
        document = made / ".metadata" / "workspace.json"
        document.write_text(document.read_text("utf-8").replace(str(made), str(root.resolve())), "utf-8")
        shutil.copytree(made, root, dirs_exist_ok=True)
    cache = root / "comfygit_cache" / "custom_nodes"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "node_mappings.json").write_text(json.dumps(NO_MAPPINGS), "utf-8")
    (cache / "comfyui_builtins_by_version.json").write_text("{}", "utf-8")
    if uv_cache is not None:
        Workspace.open(root).set_external_uv_cache(uv_cache)
    return root


def make_environment(
    root: Path,
    name: str,
    dependencies: Iterable[str] = (),
    nodes: Mapping[str, str] | None = None,
    orders: Mapping[str, object] | None = None,
) -> Path:
    """Make an environment in a workspace of `make_workspace`, not synced yet; give its folder.

    `nodes` are tracked ones: the source of `__init__.py` by name, each a clone of a repository of its own.
    `orders` are what the stand-in does wrong.
    """
    folder = root / "environments" / name
    install(folder / "ComfyUI", orders)
    make_python(folder / ".venv")
    (folder / ".cec").mkdir()
    environment = Workspace.open(root).get_environment(name, auto_sync=False)
    environment.pyproject.save(_manifest(name, dependencies))
    environment.package_config.ensure_exists()
    environment.pyproject.uv_config.set_exclude_dependencies(environment.package_config.exclude_packages)
    (environment.cec_path / ".pytorch-backend").write_text("cpu\n", "utf-8")  # core's own call asks PyTorch's index
    for node, source in (nodes or {}).items():
        _add_node(root, environment, node, source)
    environment.git_manager.initialize_environment_repo("Initial environment setup")
    mark_environment_complete(environment.cec_path)
    return folder


def release_node(root: Path, node: str, source: str) -> str:
    """Commit `source` as a node's newest `__init__.py` to its repository, made if need be; give the commit.

    The clones in the environments have it after a `git pull`.
    """
    origin = root / ORIGINS / node
    if not origin.exists():
        origin.mkdir(parents=True)
        git(origin, "init", "--quiet", "--template=")
    (origin / "__init__.py").write_text(source, "utf-8")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "release")
    return git(origin, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`, as somebody, with no settings from outside; give what it printed.

    Raises CalledProcessError.
    """
    outside = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet = {**outside, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-C", str(folder), *_IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=quiet).stdout.strip()


def _manifest(name: str, dependencies: Iterable[str]) -> dict[str, object]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "project": {
            "name": f"comfygit-env-{name}",
            "version": "0.1.0",
            "requires-python": f"=={version}.*",
            "dependencies": list(dependencies),
        },
        "tool": {
            "comfygit": {"schema_version": 2, "python_version": version},
            "uv": {"override-dependencies": ["uv>=0.11.8"]},
        },
        "dependency-groups": {"comfygit-system": ["uv>=0.11.8"]},
    }


def _add_node(root: Path, environment: Environment, name: str, source: str) -> None:
    """Clone and track a node, without dependencies of its own."""
    commit = release_node(root, name, source)
    origin = str(root / ORIGINS / name)
    git(environment.custom_nodes_path, "clone", "--quiet", origin, name)
    node = NodeInfo(name=name, repository=origin, version=commit, source="git")
    environment.pyproject.nodes.add(node, name)
    environment.pyproject.dependencies.add_to_group(environment.pyproject.nodes.generate_group_name(node, name), [])
