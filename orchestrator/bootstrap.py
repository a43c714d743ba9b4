"""From the package that runs to an orchestrator's venv: this package packed into a wheel, that wheel installed."""

import base64
import csv
import hashlib
import importlib.metadata
import importlib.util
import io
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from orchestrator.errors import OrchestratorError
from orchestrator.panel import venv
from orchestrator.panel.venv import VenvError

DISTRIBUTION: Final = "comfygit-orchestrator"
PACKAGES: Final = ("comfygit_journal", "journal", "orchestrator", "projections")

_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: comfygit-orchestrator\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EARLIEST: Final = (1980, 1, 1, 0, 0, 0)  # the zero of zip files: a time would make equal wheels differ
_PLAIN_FILE: Final = 0o100644 << 16
_UNIX: Final = 3


def build_wheel(folder: Path) -> Path:
    """Pack this package, as it runs, into a wheel in `folder`; the path of the wheel.

    From the same files it makes the same bytes, whether they lie in a source tree or were installed from a wheel. It
    runs nothing and needs no network. Raises OrchestratorError when the package is not installed, and OSError.
    """
    name, content = packed()
    path = folder / name
    path.write_bytes(content)
    return path


def packed() -> tuple[str, bytes]:
    """The file name and the content of that wheel. Raises as `build_wheel` does."""
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        message = f"packing {DISTRIBUTION}: it runs, but is not installed, so that its dependencies are not known"
        raise OrchestratorError(message, "install it: pip install --editable . in its source tree") from error
    stem = f"{DISTRIBUTION.replace('-', '_')}-{distribution.version.replace('-', '_')}"
    files = {name: path.read_bytes() for package in PACKAGES for name, path in package_files(package)}
    files.update((f"{stem}.dist-info/{name}", text.encode()) for name, text in _metadata(distribution))
    record = f"{stem}.dist-info/RECORD"
    return f"{stem}-py3-none-any.whl", _zipped({**files, record: _record(files, record)})


def package_files(package: str) -> Iterator[tuple[str, Path]]:
    """Every file that belongs to an importable package, with its name in a wheel (`journal/store.py`), sorted.

    Raises OrchestratorError when it is in no folder.
    """
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise OrchestratorError(f"packing {package}: there is no folder of that package", "install it from a wheel")
    root = Path(folders[0])
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        passing = path.suffix == ".pyc" or any(part.startswith((".", "__pycache__")) for part in name.parts)
        if path.is_file() and not passing:
            yield f"{package.replace('.', '/')}/{name.as_posix()}", path


def ensure_orchestrator_venv(venv_path: Path) -> None:
    """Make a venv with this package and comfygit-core at `venv_path`, unless it is there and current.

    Raises VenvError (a RuntimeError with a hint) when it cannot be made, else as `build_wheel`.
    """
    with tempfile.TemporaryDirectory(prefix="comfygit-wheel-") as folder:
        venv.ensure(venv_path, build_wheel(Path(folder)))


def get_orchestrator_python(custom_node_root: Path) -> Path:
    """The Python of the venv in a custom node's folder `server`. Raises VenvError, a RuntimeError: there is none."""
    folder = custom_node_root / "server" / ".orchestrator_venv"
    python = venv.python_in(folder)
    if not python.exists():
        making = f"ensure_orchestrator_venv(Path({str(folder)!r}))"
        message = f"Orchestrator venv not found: there is no {python}; to make it, call orchestrator.bootstrap.{making}"
        raise VenvError(message, f"from orchestrator.bootstrap import ensure_orchestrator_venv; {making}")
    return python


def _metadata(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    """What the wheel says about itself, licences included; not how it came here (INSTALLER, direct_url.json)."""
    licences = [f"licenses/{name}" for name in distribution.metadata.get_all("License-File") or ()]
    for name in ("METADATA", "entry_points.txt", *licences):
        text = distribution.read_text(name)
        if text is not None:
            yield name, text
    yield "WHEEL", _WHEEL


def _record(files: Mapping[str, bytes], record: str) -> bytes:
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    for name, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(content)))
    rows.writerow((record, "", ""))
    return lines.getvalue().encode()


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """Stored, not compressed: compressors differ from one Python to the next, and the bytes are what names the venv."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _EARLIEST)
            entry.create_system, entry.external_attr = _UNIX, _PLAIN_FILE
            archive.writestr(entry, content)
    return buffer.getvalue()
