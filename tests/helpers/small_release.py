"""A wheel and a comfygit-core so small that a real uv or pip installs them in no time, and without a network."""

import json
import zipfile
from pathlib import Path
from typing import Any

from tests.helpers.waiting import until

_BACKEND = '''
"""Builds this folder's editable wheel by itself. What it meets is written down beside it."""
import json, os, pathlib, sys, time, zipfile

HERE = pathlib.Path(__file__).parent

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with open(HERE / "builds", "a") as builds:
        builds.write("built\\n")
    (HERE / "environ.json").write_text(json.dumps(dict(os.environ)))
    while (HERE / "hold").exists():
        time.sleep(0.01)
    if (HERE / "broken").exists():
        print("no such wheel as that one")
        sys.exit(3)
    name, info = "comfygit_core-7-py3-none-any.whl", "comfygit_core-7.dist-info"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("comfygit_core.pth", str(HERE))
        wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: comfygit-core\\nVersion: 7\\n")
        wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "/RECORD", "")
    return name
'''
_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "comfygit-core"
version = "7"
"""


class SmallCore:
    """A source tree of comfygit-core whose build can be held up, and be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "pyproject.toml").write_text(_PROJECT)
        (folder / "backend.py").write_text(_BACKEND)
        (folder / "comfygit_core.py").touch()

    def hold(self) -> None:
        (self.folder / "hold").touch()

    def go_on(self) -> None:
        (self.folder / "hold").unlink()

    def break_it(self) -> None:
        (self.folder / "broken").touch()

    def mend(self) -> None:
        (self.folder / "broken").unlink()

    def until_building(self) -> None:
        until((self.folder / "environ.json").exists)

    def builds(self) -> int:
        return len((self.folder / "builds").read_text().splitlines())

    def environ(self) -> dict[str, Any]:
        """The environment variables of the newest build."""
        found: dict[str, Any] = json.loads((self.folder / "environ.json").read_text())
        return found


def small_wheel(folder: Path, release: str) -> Path:
    """A wheel with one module, `small_release`, that knows its `release`, and without dependencies."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"small_release-{release}-py3-none-any.whl", f"small_release-{release}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("small_release.py", f"RELEASE = {release!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: small-release\nVersion: {release}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path
