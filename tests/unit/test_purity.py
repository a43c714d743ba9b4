"""What the purity contract of import-linter cannot see: the names taken from modules that also read the world."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
DATA_AND_ARITHMETIC = {
    "journal.clock": {
        "FOREVER_NS",
        "MS",
        "S",
        "Stamp",
        "age_ns",
        "as_datetime",
        "before",
        "elapsed_ns",
        "is_over",
        "iso",
        "seconds",
    },
    "journal.codec": {"Actor", "Draft", "Recorded"},
    "journal.identity": {"Identity"},
}


def pure_modules() -> list[Path]:
    """The files of the contract's `source_modules`."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [purity] = [contract for contract in contracts if contract["id"] == "purity"]
    files: list[Path] = []
    for name in purity["source_modules"]:
        path = ROOT / name.removesuffix(".*").replace(".", "/")
        files += path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    return sorted(path for path in files if path != ROOT / "projections" / "publisher.py")


def impurities(source: str) -> list[str]:
    """What in `source` reaches the world by way of a module that the contract lets through."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) if name in IMPURE_BUILTINS:
                found.append(name)
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name in DATA_AND_ARITHMETIC]
            case ast.ImportFrom(module="journal", names=names):
                found += [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names) if module in DATA_AND_ARITHMETIC:
                found += [alias.name for alias in names if alias.name not in DATA_AND_ARITHMETIC[module]]
    return found


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_takes_only_data_and_arithmetic(path):
    assert impurities(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from journal.clock import S, read",
        "from journal.identity import is_alive",
        "from journal.codec import own_actor",
        "from journal import clock",
        "import journal.clock",
        "open('x')",
        "__import__('time')",
    ],
)
def test_an_impurity_is_seen(source):
    assert len(impurities(source)) == 1


def test_the_contract_names_modules_that_exist():
    files = pure_modules()
    assert all(path.is_file() for path in files)
    assert ROOT / "orchestrator" / "deciding" / "idling.py" in files
