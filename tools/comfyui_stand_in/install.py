"""Puts a stand-in, and a Python to run it with, into an environment."""

import importlib.util
import json
import shutil
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from comfyui_stand_in import misbehaviour

_SOURCE = Path(__file__).resolve().parent
_STAYS_HERE = {"comfygit.py", "environment.py", "install.py", "main.py"}


def install(comfyui_dir: Path, misbehave: Mapping[str, object] | None = None) -> None:
    """Make `comfyui_dir` a ComfyUI folder with `main.py`, `custom_nodes/` and orders.

    Files of an earlier stand-in are replaced, and its starts forgotten.
    Raises MisbehaviourError for orders that it would not understand.
    """
    package = comfyui_dir / _SOURCE.name
    package.mkdir(parents=True, exist_ok=True)
    (comfyui_dir / "custom_nodes").mkdir(exist_ok=True)
    for module in _SOURCE.glob("*.py"):
        if module.name not in _STAYS_HERE:
            shutil.copyfile(module, package / module.name)
    shutil.copyfile(_SOURCE / "main.py", comfyui_dir / "main.py")
    give_orders(comfyui_dir, misbehave)


def give_orders(comfyui_dir: Path, misbehave: Mapping[str, object] | None) -> None:
    """Replace what the next starts do wrong, counting from the first; None: nothing.

    Raises MisbehaviourError for orders that it would not understand.
    """
    orders = {} if misbehave is None else misbehave
    misbehaviour.parse(orders)
    (comfyui_dir / misbehaviour.STARTS_FILE).unlink(missing_ok=True)
    path = comfyui_dir / misbehaviour.FILE
    path.write_text(json.dumps(orders, indent=2) + "\n", encoding="utf-8")


class _Builder(venv.EnvBuilder):
    """Builds without pip, and remembers where the new interpreter is."""

    def __init__(self) -> None:
        super().__init__(with_pip=False, symlinks=True)
        self.python = Path()

    def post_setup(self, context: SimpleNamespace) -> None:
        name = "python.exe" if sys.platform == "win32" else "python"
        self.python = Path(context.bin_path, name)


def make_python(venv_dir: Path) -> Path:
    """Build a venv that can import aiohttp from where we do; give its interpreter.

    It has no pip, and sees all of our site-packages, though not their `.pth` files.
    """
    builder = _Builder()
    builder.create(venv_dir)
    scheme = {"base": str(venv_dir), "platbase": str(venv_dir)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    (packages / "stand_in.pth").write_text(f"{_aiohttp_folder()}\n", encoding="utf-8")
    return builder.python


def _aiohttp_folder() -> Path:
    spec = importlib.util.find_spec("aiohttp")
    if spec is None or spec.origin is None:
        msg = "the stand-in needs aiohttp in the interpreter that installs it"
        raise ModuleNotFoundError(msg, name="aiohttp")
    return Path(spec.origin).parent.parent
