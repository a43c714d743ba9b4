"""Environments of a live workspace whose content can be broken and brought back: real ComfyGit ones, and plain folders."""

import subprocess
import sys
from pathlib import Path

from comfyui_stand_in.comfygit import git, release_node
from journal.events import Evidence
from projections.generations import Generation
from tests.helpers.live_workspace import LiveWorkspace

NODE = "sampler"
GOOD_NODE = "NODE_CLASS_MAPPINGS = {}\n"
LAST_LINE = "sampler 2.0 needs a newer ComfyUI"
BROKEN_NODE = f"raise SystemExit({LAST_LINE!r})\n"
PINNED, NEWER = "iniconfig==2.0.0", "iniconfig==2.1.0"
"""A package of one small wheel, before the update and after it."""

_CHECKING_NODE = """
import pathlib, tomllib
manifest = tomllib.loads((pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
if manifest["project"]["version"].endswith(".dev0"):
    raise SystemExit("a node does not work with version " + manifest["project"]["version"])
"""
BREAKS = "2.0.dev0"
"""A version of a plain folder's project with which its ComfyUI ends at once."""


def kept(live: LiveWorkspace, environment: str) -> Generation:
    """The newest healthy generation of `environment`, once that serves and its content is kept."""

    def newest(generations: tuple[Generation, ...]) -> Generation:
        healthy = (g for g in generations if g.environment == environment and g.evidence is not Evidence.SAVED)
        return max(healthy, key=lambda g: g.age_key)

    state = live.until(
        lambda state: (
            state.serving == environment
            and state.worker is None
            and state.job is None
            and newest(state.generations).kept is not None
        )
    )
    return newest(state.generations)


def update_in_place(live: LiveWorkspace, environment: str, source: str = BROKEN_NODE) -> bytes:
    """The newer commit in the tracked node's folder and in the manifest, and a package that it wants; the manifest then."""
    manifest = manifest_of(live, environment)
    node = live.comfyui(environment) / "custom_nodes" / NODE
    old = git(node, "rev-parse", "HEAD")
    new = release_node(live.root, NODE, source)
    git(node, "pull", "--quiet")
    manifest.write_text(manifest.read_text("utf-8").replace(old, new).replace(PINNED, NEWER), "utf-8")
    return manifest.read_bytes()


def manifest_of(live: LiveWorkspace, environment: str) -> Path:
    folder = live.root / "environments" / environment
    return (folder / ".cec" if (folder / ".cec").is_dir() else folder) / "pyproject.toml"


def in_ref(live: LiveWorkspace, environment: str, generation: int, name: str) -> bytes:
    """The bytes that the manifest repository keeps of a generation's file."""
    command = ["git", "-C", str(manifest_of(live, environment).parent)]
    command += ["show", f"refs/comfygit-journal/{generation}:{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def installed(live: LiveWorkspace, environment: str) -> list[str]:
    """The packages in its venv, as the names of their metadata folders."""
    packages = (live.root / "environments" / environment / ".venv").glob("lib/python*/site-packages/*.dist-info")
    return sorted(package.name.removesuffix(".dist-info") for package in packages)


def add_plain(live: LiveWorkspace, name: str, version: str = "1.0") -> Path:
    """A plain folder with a manifest and a lock file, whose ComfyUI does not work with version BREAKS; the folder."""
    node = live.add(name) / "custom_nodes" / "checking.py"
    node.write_text(_CHECKING_NODE, "utf-8")
    write_plain(live, name, version)
    return live.root / "environments" / name


def write_plain(live: LiveWorkspace, name: str, version: str) -> dict[str, bytes]:
    """Another version of its project in both files; their bytes."""
    folder = live.root / "environments" / name
    requires = f"=={sys.version_info.major}.{sys.version_info.minor}.*"
    manifest = f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = "{requires}"\n'
    lock = f'version = 1\nrequires-python = "{requires}"\n\n[[package]]\nname = "{name}"\nversion = "{version}"\n'
    (folder / "pyproject.toml").write_text(manifest, "utf-8")
    (folder / "uv.lock").write_text(f'{lock}source = {{ virtual = "." }}\n', "utf-8")
    return plain_content(live, name)


def plain_content(live: LiveWorkspace, name: str) -> dict[str, bytes]:
    folder = live.root / "environments" / name
    return {file: (folder / file).read_bytes() for file in ("pyproject.toml", "uv.lock")}
