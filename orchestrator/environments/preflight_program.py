"""Would ComfyUI get through its imports? Run as a file by the target environment's own Python; prints one JSON line.

`python preflight_program.py COMFYUI_FOLDER` reads main.py and, in the order of their execution, the local modules that
it imports without condition, and looks up each imported name where Python would. Nothing of the target is imported or
executed. It is satisfied as soon as it can no longer be sure: after code that may change where modules are found, that
installs packages, or that leaves. A wrong "no" would refuse a good environment; a wrong "yes" costs a roll-back.

Standard library only, Python 3.9 and later: nothing else of this project can be imported here.
"""
# ruff: noqa: E402, PTH118, PTH120, PTH123, PTH207

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__" and sys.path and os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]  # our own folder: its modules must not stand in front of the standard library's

import ast
import contextlib
import gc
import glob
import json
import re
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder

# Python 3.9 has no list of them: there, a local module of such a name is looked into.
_STANDARD = frozenset(getattr(sys, "stdlib_module_names", sys.builtin_module_names))
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)

# The following match Python as `ast.unparse` writes it, but for the first: bytes of a file, to spare most of it that.
_SUSPECT = re.compile(
    rb"\bsys\b|\b(site|pip|runpy|os)\s*\.\s*\w+\s*\(|\bfrom\s+(site|pip)\b|\b(exec|eval)\b|run_path|run_module|__import__"
    rb"|import_module|exec_module|\bsubprocess\b|\bPopen\b"
)
_UNSETTLING = re.compile(
    r"\bsys\.(path|modules|meta_path|path_hooks)\b|\bfrom sys import .*\b(path|modules|meta_path|path_hooks)\b"
    r"|(?<![.\w])(exec|eval)\(|\bos\.exec\w+\(|\b(run_path|run_module|__import__|import_module)\("
    r"|\b(site|pip|runpy)\.\w+\(|\bfrom (site|pip) import"
)
_ONLY_READS = re.compile(
    r"\bin sys\.(path|modules)\b|\b(len|list|tuple|set|sorted|str|print)\(sys\.(path|modules)\)"
    r"|\bsys\.(path|modules)\.(get|keys|values|items|copy|index|count)\("
    r"|\bsys\.(path|modules)\[[^][]*\](?! *[-+|]?=[^=])"
)
_RUNS_A_PROGRAM = re.compile(r"\bsubprocess\.|\bos\.(system|popen)\(|\bPopen\(")
_INSTALLS = re.compile(r"pip|install")
_ADDS_A_FOLDER = re.compile(
    r"sys\.path\.(?:append\(|insert\((?P<index>\d+), )"
    r"(?P<join>os\.path\.join\()?os\.path\.dirname\(os\.path\.(?:abspath|realpath)\(__file__\)\)"
    r"(?(join), '(?P<below>[^'\\]+)'\))\)"
)
_LEAVES = re.compile(r"raise\b|((sys|os)\.)?(exit|_exit|quit|abort)\(")


class Problem(Exception):  # noqa: N818 -- the answer
    """ComfyUI would not get through."""


class Unsure(Exception):  # noqa: N818 -- the other one
    """From here on nothing can be said."""


def unsettles(code: str) -> bool:
    """Whether executing `code`, all functions defined in it included, may change where modules are found."""
    if _UNSETTLING.search(_ONLY_READS.sub("", code)):
        return True
    return _RUNS_A_PROGRAM.search(code) is not None and _INSTALLS.search(code) is not None


def _called(tree: ast.AST) -> set[str]:
    """Names of the functions and methods that are called anywhere in `tree`."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {str(getattr(function, "id", getattr(function, "attr", ""))) for function in functions}


def _names_in(tree: ast.AST) -> Iterator[str]:
    """Every name in the code of a module: what it may bind, and more."""
    for node in ast.walk(tree):
        yield from (str(getattr(node, field, "")).partition(".")[0] for field in ("name", "asname", "id"))


def executed_parts(statement: ast.stmt, *, is_main: bool = False) -> Iterator[ast.stmt | ast.expr]:
    """What is executed when `statement` is reached: of a definition its decorators, of a class its body too."""
    if isinstance(statement, _DEFINITIONS):
        for decorator in statement.decorator_list:
            yield ast.copy_location(ast.Call(decorator, [], []), decorator)
        for child in statement.body if isinstance(statement, ast.ClassDef) else []:
            yield from executed_parts(child)
    elif isinstance(statement, ast.If) and is_main and ast.unparse(statement.test) == "__name__ == '__main__'":
        yield from statement.body
    elif isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
        yield from statement.orelse
    else:
        yield statement


def has_prestartup_script(root: str) -> bool:
    """Whether a custom node has a script that ComfyUI runs before most of its imports; some install packages."""
    scripts = glob.iglob(os.path.join(glob.escape(root), "custom_nodes", "*", "prestartup_script.py"))
    return not all(os.path.dirname(script).endswith(".disabled") for script in scripts)


class Source:
    """One module's file while it is being walked."""

    def __init__(self, path: str, root: str, package: str) -> None:
        self.path = path
        self.package = package
        self._shown = os.path.relpath(path, root)
        try:
            with open(path, "rb") as file:
                content = file.read()
            self.tree = ast.parse(content, path)
        except SyntaxError as exc:
            raise Problem(f"{self._shown}:{exc.lineno or 1}: {exc.msg} ({type(exc).__name__})") from exc
        except OSError as exc:
            raise Problem(f"{self._shown} cannot be read: {exc.strerror}") from exc
        self._lines = content.splitlines() if _SUSPECT.search(content) else []

    def where(self, node: ast.stmt | ast.expr) -> str:
        """`file:line`, the file relative to ComfyUI's folder."""
        return f"{self._shown}:{node.lineno}"

    def suspect_code(self, node: ast.stmt | ast.expr) -> str:
        """The code of `node`, if `unsettles` may have anything to say to it; else ""."""
        lines = self._lines[node.lineno - 1 : node.end_lineno]
        return ast.unparse(node) if any(map(_SUSPECT.search, lines)) else ""

    def unsettling_names(self, *, nodes_unsettle: bool) -> set[str]:
        """Functions and classes of this module that unsettle when they are called, directly or through each other.

        `nodes_unsettle`: so does running custom nodes' code, in the way ComfyUI does it.
        """
        definitions = [node for node in self.tree.body if isinstance(node, _DEFINITIONS)]
        codes = {node.name: self.suspect_code(node) for node in definitions}
        more = {name for name, code in codes.items() if unsettles(code) or (nodes_unsettle and ".exec_module(" in code)}
        found = set(more)
        while more:
            more = {node.name for node in definitions if node.name not in found and _called(node) & found}
            found |= more
        return found

    def added_folder(self, code: str) -> tuple[int | None, str] | None:
        """(index, folder) of a simple `sys.path.insert(index, folder)`, index None for `append`; None for all else."""
        if not (match := _ADDS_A_FOLDER.fullmatch(code)):
            return None
        folder = os.path.join(os.path.dirname(os.path.realpath(self.path)), match["below"] or "")
        return None if match["index"] is None else int(match["index"]), folder


class Module:
    """What a name turned out to be: a local package, with its `folders` and the `names` in its code, or another."""

    folders: list[str] | None = None
    names: frozenset[str] = frozenset()


class Walk:
    """The imports of one ComfyUI, in the order of their execution. `search` is its sys.path without its own folder."""

    def __init__(self, main: str, search: list[str]) -> None:
        self._main = main
        self._root = os.path.dirname(main)
        self._search = [self._root, *search]
        self._modules: dict[str, Module] = {}
        self._perhaps: dict[str, Module] | None = None  # imported only under a condition; None: we are under none
        self._perhaps_before: dict[str, Module] = {}
        self._unsettling: set[str] = set()

    def run(self) -> None:
        """Raises Problem for the first import that would fail, Unsure where nothing more can be said."""
        self._execute_file(self._main, "", Module())

    def _execute_file(self, path: str, package: str, module: Module) -> None:
        source = Source(path, self._root, package)
        if module.folders is not None:
            module.names = frozenset(_names_in(source.tree))
        is_main = path == self._main
        self._unsettling |= source.unsettling_names(nodes_unsettle=is_main and has_prestartup_script(self._root))
        for statement in source.tree.body:
            for part in executed_parts(statement, is_main=is_main):
                self._execute(part, source)

    def _execute(self, part: ast.stmt | ast.expr, source: Source) -> None:
        code = source.suspect_code(part)
        added = source.added_folder(code)
        if added is not None and self._perhaps is None:
            index, folder = added
            self._search.insert(len(self._search) if index is None else index, folder)
            return
        if unsettles(code) or (self._unsettling and _called(part) & self._unsettling) or _leaves(part):
            raise Unsure(source.where(part))
        if isinstance(part, _IMPORTS):
            self._import(part, source)
        elif hasattr(part, "body"):
            for node in ast.walk(part):
                if isinstance(node, _IMPORTS):
                    self._perhaps_import(node, source)

    def _perhaps_import(self, node: ast.Import | ast.ImportFrom, source: Source) -> None:
        """An import under a condition: that it fails is no problem, but what it does to the search may be."""
        outside, self._perhaps = self._perhaps, self._perhaps_before
        with contextlib.suppress(Problem):
            self._import(node, source)
        self._perhaps = outside

    def _import(self, node: ast.Import | ast.ImportFrom, source: Source) -> None:
        where = source.where(node)
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._load(alias.name, where)
            return
        around = [part for part in source.package.split(".") if part]
        if node.level > len(around):
            raise Unsure(where)
        base = ".".join(around[: len(around) + 1 - node.level] if node.level else [])
        name = ".".join(filter(None, [base, node.module]))
        package = self._load(name, where)
        for alias in node.names if package.folders is not None else []:
            # A name that the package's own code knows may be anything; else it is a submodule, if there is one.
            submodule = PathFinder.find_spec(alias.name, package.folders)
            if submodule is not None and not package.names & {alias.name, "*", "__getattr__"}:
                self._load(f"{name}.{alias.name}", where)

    def _load(self, dotted: str, where: str) -> Module:
        """Import `dotted` with the packages around it. Of a package that is not local only the top is looked up."""
        name, module = "", None
        for part in dotted.split("."):
            if module is not None and module.folders is None:
                break
            name = f"{name}.{part}" if name else part
            known = self._modules.get(name) or (self._perhaps or {}).get(name)
            module = known or self._find(name, part, module, where)
        return module or Module()

    def _find(self, name: str, part: str, package: Module | None, where: str) -> Module:
        spec = find_top(part, self._search) if package is None else PathFinder.find_spec(part, package.folders)
        if spec is None:
            moves = package is not None and "__path__" in package.names
            raise Unsure(where) if moves else Problem(f"{where}: No module named {name!r}")
        module = Module()
        (self._modules if self._perhaps is None else self._perhaps)[name] = module
        file = spec.origin if spec.has_location and spec.origin else ""
        folders = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if (package is not None or part not in _STANDARD) and self._are_local([file] if file else folders or []):
            module.folders = folders
            if file.endswith(".py"):
                self._execute_file(file, name if folders is not None else name.rpartition(".")[0], module)
        return module

    def _are_local(self, places: list[str]) -> bool:
        root = os.path.realpath(self._root)
        relative = [os.path.relpath(os.path.realpath(place), root) for place in places]
        return bool(places) and not any(place.startswith("..") or "-packages" in place for place in relative)


def _leaves(part: ast.stmt | ast.expr) -> bool:
    """Whether nothing after it is executed. Leaving on a condition does not count: what has left does not serve."""
    return isinstance(part, (ast.Raise, ast.Expr)) and _LEAVES.match(ast.unparse(part)) is not None


def find_top(name: str, search: list[str]) -> ModuleSpec | None:
    """Where Python would find the top-level module `name`: every finder there is, with `search` for sys.path."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, search if finder is PathFinder else None)
        except Exception:  # noqa: BLE001 -- somebody else's finder, as editable installs have them: taken as a yes
            return ModuleSpec(name, None)
        if spec is not None:
            return spec
    return ModuleSpec(name, None) if name in sys.modules else None


def examine(main: str, search: list[str]) -> tuple[str, str]:
    """(problem, note): what would stop ComfyUI, "" when nothing is known to; where we stopped being sure, or ""."""
    try:
        Walk(main, search).run()
    except Problem as exc:
        return str(exc), ""
    except Unsure as exc:
        return "", f"not sure after {exc}"
    except Exception as exc:  # noqa: BLE001 -- a fault of ours must not refuse a good environment
        return "", f"not checked: {type(exc).__name__}: {exc}"
    return "", ""


if __name__ == "__main__":
    gc.disable()  # syntax trees are many objects without cycles: saves a third of the time
    warnings.simplefilter("ignore")
    os.chdir(sys.argv[1])
    found, noted = examine(os.path.realpath("main.py"), sys.path)
    version = ".".join(map(str, sys.version_info[:3]))
    verdict = {"ok": not found, "problem": found[:600], "python": version, "note": noted[:600]}  # one line of a log
    sys.stdout.write(json.dumps(verdict) + "\n")
