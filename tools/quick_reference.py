#!/usr/bin/env python3
"""Writes docs/quick-reference.md from the code; with --check only says whether it is up to date.

Run it in the repo's `.venv`: `.venv/bin/python tools/quick_reference.py`. A name that no code explains is explained in
`quick_reference_texts`; one that is missing there is an error.
"""

import ast
import functools
import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import checks
import orchestrator
import tests.helpers
from comfygit_journal.commands import cli as journal_cli
from generated_page import write_or_check
from orchestrator.cli import ARGS
from orchestrator.cli import cli as orchestrator_cli
from orchestrator.control import refusing
from orchestrator.inbox import COMMAND
from orchestrator.occupancy import SINGLETON
from projections import views
from quick_reference_texts import CONTROL_ROUTES, EXIT_CODES, FILES, VARIABLES

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "quick-reference.md"
SHIPPED = ("journal", "projections", "orchestrator", "tools/comfygit_journal")
FIXTURES = ("tests/conftest.py", "tests/helpers/kit_fixtures.py")
PANEL = "orchestrator.panel.routes"
VARIABLE = re.compile(r"\bCOMFYGIT_[A-Z]+(?:_[A-Z]+)*")
SAID_ONCE = {"--workspace"}
"""Options that every command has."""
ANY_LENGTH = 1_000
COMMANDS_SAID = (
    f"Every command takes `--workspace DIR`. What follows `{ARGS}` is for ComfyUI, as in `run {ARGS} --port 8188`; "
    "without a command, options alone mean `run`, as a panel starts it."
)
TEST_SAID = "A file, `-v` and all else goes to pytest; a selection of tests leaves out the static checks."
HEADER = """\
# Quick reference

Made from the code by `tools/quick_reference.py`. [README](../README.md) has the settings, [events.md](events.md) the events.
"""

Rows = Iterable[tuple[str, ...]]


def main(argv: Sequence[str]) -> int:
    """Write the page, or compare it. 0: written or up to date; 1: stale, or something is not described; 2: usage."""
    return write_or_check(argv, TARGET, render, "tools/quick_reference.py")


def render() -> str:
    """The whole page as Markdown."""
    sections = [
        *_section("`comfygit-orchestrator`", COMMANDS_SAID, ("command", "what it does"), _commands(orchestrator_cli)),
        *_section("`comfygit-journal`", "", ("command", "what it does"), _commands(journal_cli)),
        *_section("Python", "`from orchestrator import ...`", ("name", "what it does"), _python()),
        *_section(
            "Exit codes", "", ("of", "code", "meaning"), ((whose, str(code), what) for whose, code, what in EXIT_CODES)
        ),
        *_section("Files in `.metadata`", "", ("file", "kind", "content"), _files()),
        *_section("Control server", "On 127.0.0.1 only.", ("route", "answer"), _control_routes()),
        *_section("Panel, in ComfyUI's server", "", ("route", "answer"), _panel_routes()),
        *_section("Environment variables", "", ("name", "meaning"), variables(shipped_text(), VARIABLES)),
        *_section("Fixtures", "", ("fixture", "what it gives"), _fixtures()),
        *_section("Test helpers", "`from tests.helpers import ...`", ("name", "what it is"), _helpers()),
        *_section("Markers", "", ("marker", "meaning"), _markers()),
        *_section("`tools/test`", TEST_SAID, ("option", "meaning"), _test_options()),
    ]
    return "\n".join([HEADER, *sections]).rstrip() + "\n"


def _section(title: str, said: str, header: tuple[str, ...], rows: Rows) -> Iterator[str]:
    """A heading and its table; nothing where there are no rows."""
    found = list(rows)
    if not found:
        return
    yield from (f"## {title}", "")
    if said:
        yield from (said, "")
    yield _row(header)
    yield "|" + "---|" * len(header)
    yield from map(_row, found)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


@functools.cache
def shipped_text() -> str:
    """The source of everything that is shipped."""
    files = [file for package in SHIPPED for file in sorted((ROOT / package).rglob("*.py"))]
    return "\n".join(file.read_text("utf-8") for file in files)


def _undescribed(what: str, names: Iterable[str]) -> None:
    missing = sorted(names)
    if missing:
        sys.exit(f"error: {what} not described: {', '.join(missing)}\nhint: add it to tools/quick_reference_texts.py")


# ---------------------------------------------------------- commands


def _commands(group: click.Group, before: tuple[str, ...] = ()) -> Rows:
    """Each command that is shown, and behind it its subcommands."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            whole = (*before, name)
            cell = [f"`{' '.join([*whole, *_arguments(command)])}`", *_options(command)]
            yield " ".join(cell), command.get_short_help_str(ANY_LENGTH)
            if isinstance(command, click.Group):
                yield from _commands(command, whole)


def _arguments(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    return (one.make_metavar(context) for one in command.params if isinstance(one, click.Argument))


def _options(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    for one in command.params:
        if isinstance(one, click.Option) and not one.hidden and not SAID_ONCE & set(one.opts):
            value = "" if one.is_flag else f" {one.make_metavar(context)}"
            yield f"`{', '.join(one.opts)}{value}`"


# ------------------------------------------------------------ Python


def _python() -> Rows:
    """The functions and classes of `orchestrator.__all__`."""
    for name in getattr(orchestrator, "__all__", ()):
        value = getattr(orchestrator, name)
        if callable(value):
            yield _named(name, value, is_wanted=_says_what_for)


def _helpers() -> Rows:
    return (_named(name, getattr(tests.helpers, name), is_wanted=_is_public) for name in tests.helpers.__all__)


def _named(
    name: str, value: Callable[..., Any], is_wanted: Callable[[str, Callable[..., Any]], bool]
) -> tuple[str, str]:
    """A function, or a class with those of its methods that are wanted."""
    said = [_first_line(value)]
    if inspect.isclass(value):
        codes = [f"`{key}` {code}" for key, code in vars(value).items() if key.isupper() and isinstance(code, int)]
        methods = [
            f"`{key}{_signature(method, bound=True)}`" for key, method in _methods(value) if is_wanted(key, method)
        ]
        said += [", ".join([*codes, *methods])] if codes or methods else []
    return f"`{name}{_signature(value)}`", " ".join(said)


def _methods(cls: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    return ((key, value) for key, value in vars(cls).items() if inspect.isfunction(value) and not key.startswith("__"))


def _is_public(key: str, _method: Callable[..., Any]) -> bool:
    return not key.startswith("_")


def _says_what_for(key: str, method: Callable[..., Any]) -> bool:
    """Public, or with a docstring: some of the names that others call begin with an underscore."""
    return _is_public(key, method) or bool(method.__doc__)


def _signature(value: Callable[..., Any], *, bound: bool = False) -> str:
    """Names and defaults, and the type that is given back; types of arguments would not fit."""
    whole = inspect.signature(value)
    found = list(whole.parameters.values())[bound:]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found]
    given = whole.return_annotation
    is_told = given not in {inspect.Signature.empty, None, "None"} and not inspect.isclass(value)
    named = given if isinstance(given, str) else inspect.formatannotation(given)
    back = f" -> {re.sub(r'(?:[A-Za-z_]+[.])+', '', named)}" if is_told else ""
    return f"{whole.replace(parameters=bare, return_annotation=inspect.Signature.empty)}{back}"


# ----------------------------------------------- files, routes, variables


def _files() -> Rows:
    _undescribed("files of .metadata", {*views.WHEN_TAKING, COMMAND, SINGLETON} - FILES.keys())
    return ((f"`{name}`", *about) for name, about in FILES.items())


def _control_routes() -> Rows:
    described = frozenset[str]().union(*(paths for _, paths, _ in CONTROL_ROUTES))
    _undescribed("control server routes", (refusing.READ_PATHS | refusing.ACTING_PATHS) - described)
    for method, paths, what in CONTROL_ROUTES:
        yield ", ".join(f"`{method} {path}`" for path in sorted(paths, key=lambda path: (len(path), path))), what


def _panel_routes() -> Rows:
    try:
        routes: Mapping[tuple[str, str], object] = importlib.import_module(PANEL).ROUTES
    except ModuleNotFoundError as missing:
        if not PANEL.startswith(f"{missing.name}"):
            raise
        return ()
    return ((f"`{method} {path}`", _first_line(handler)) for (method, path), handler in routes.items())


def variables(source: str, described: Mapping[str, str]) -> Rows:
    """The variables that `source` reads or sets, as they are described. Exits when one of them is not."""
    used = set(VARIABLE.findall(source))
    _undescribed("environment variables", used - described.keys())
    return [(f"`{name}`", what) for name, what in described.items() if name in used]


# -------------------------------------------------------------- tests


def _fixtures() -> Rows:
    for file in FIXTURES:
        for node in ast.parse((ROOT / file).read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and any(
                "pytest.fixture" in ast.unparse(one) for one in node.decorator_list
            ):
                autouse = any("autouse=True" in ast.unparse(one) for one in node.decorator_list)
                said = (ast.get_docstring(node) or "").partition("\n")[0]
                yield f"`{node.name}`", f"{said} For every test." if autouse else said


def _markers() -> Rows:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    for marker in settings["markers"]:
        name, _, meaning = marker.partition(": ")
        yield f"`{name}`", meaning


def _test_options() -> Rows:
    for action in checks.parser()._actions:  # noqa: SLF001 - argparse has no other way to list them
        if action.option_strings[-1] != "--help":
            yield f"`{action.option_strings[-1]}`", (action.help or "").replace("%%", "%")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
