"""Would ComfyUI get through its imports? Run as a file by the target environment's own Python; prints one JSON line.

`python preflight_program.py COMFYUI_FOLDER` reads main.py and, in the order of their execution, the local modules that
it imports without condition, and looks up each imported name where Python would. Nothing of the target is imported or
executed. It is satisfied as soon as it can no longer be sure: after code that may change where modules are found, that
installs packages, or that leaves. A wrong "no" would refuse a good environment; a wrong "yes" costs a roll-back.

Standard library only, Python 3.9 and later. Nothing else of this project can be imported here.
"""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
if __name__ == "__main__" and sys.path and os.path.realpath(sys.path[0]) == _HERE:
    del sys.path[0]  # our own folder: its modules must not stand in front of the standard library's

import ast
import contextlib
import gc
import json
import re
import warnings
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder

# Python 3.9 has no list of them: there, a local module of such a name is looked into.
_STANDARD = frozenset(getattr(sys, "stdlib_module_names", sys.builtin_module_names))
_SEARCH = frozenset({"path", "modules", "meta_path", "path_hooks"})  # of sys: what decides where modules are found
_READING_METHODS = frozenset({"get", "keys", "values", "items", "copy", "index", "count"})
_READING_CALLS = frozenset({"len", "list", "tuple", "set", "sorted", "str", "repr", "print", "any", "all"})
_LEAVING_CALLS = frozenset({"exit", "_exit", "quit", "abort"})
_RUNNING_CALLS = frozenset({"run_path", "run_module", "__import__", "import_module"})
_BUILTIN_RUNNING_CALLS = frozenset({"exec", "eval"})
_SUSPECT = re.compile(  # what the text of every module that `unsettles` must hold: spares most files the closer look
    rb"\bsys\s*\.\s*(path|modules|meta_path)|\bfrom\s+(sys|site)\b|(?<![.\w])(exec|eval)\s*\(|\bexec[vl]|exec_module"
    rb"|run_path|run_module|__import__|import_module|subprocess|popen|\bsystem\b|\b(site|pip|runpy)\s*\."
)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_MAIN_GUARD = ast.dump(ast.parse("__name__ == '__main__'", mode="eval").body)
_PATH_FUNCTIONS: dict[str, Callable[..., str]] = {
    "abspath": os.path.abspath,
    "dirname": os.path.dirname,
    "join": os.path.join,
    "normpath": os.path.normpath,
    "realpath": os.path.realpath,
}


class Problem(Exception):
    """ComfyUI would not get through."""


class Unsure(Exception):
    """From here on nothing can be said."""


def _last_name(node: ast.AST | None) -> str:
    """`c` of `a.b.c`, and of `c`; "" for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _first_name(node: ast.AST) -> str:
    """`a` of `a.b.c`."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return _last_name(node)


def _called(tree: ast.AST) -> set[str]:
    return {_last_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _is_search(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in _SEARCH and _last_name(node.value) in {"sys"}


def _only_reads(parent: ast.AST | None, grandparent: ast.AST | None) -> bool:
    """Whether an expression leaves `sys.path` or its like, which is part of it, as it is."""
    if isinstance(parent, ast.Subscript):
        return isinstance(parent.ctx, ast.Load)
    if isinstance(parent, ast.Attribute):
        return parent.attr in _READING_METHODS and isinstance(grandparent, ast.Call)
    if isinstance(parent, ast.Call):
        return _last_name(parent.func) in _READING_CALLS
    return isinstance(parent, (ast.Compare, ast.For, ast.comprehension, ast.FormattedValue))


def _call_unsettles(call: ast.Call) -> bool:
    name, root = _last_name(call.func), _first_name(call.func)
    if isinstance(call.func, ast.Name) and name in _BUILTIN_RUNNING_CALLS:
        return True
    if name in _RUNNING_CALLS or name.startswith(("execv", "execl")) or root in {"site", "pip", "runpy"}:
        return True
    if root == "subprocess" or name in {"system", "popen", "Popen"}:
        constants = [node.value for node in ast.walk(call) if isinstance(node, ast.Constant)]
        return any(isinstance(word, str) and ("pip" in word or "install" in word) for word in constants)
    return False


def unsettles(tree: ast.AST) -> bool:
    """Whether executing `tree`, all functions defined in it included, may change where modules are found."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _call_unsettles(node):
            return True
        parent = parents.get(node)
        if _is_search(node) and not _only_reads(parent, None if parent is None else parents.get(parent)):
            return True
        if isinstance(node, ast.ImportFrom) and node.module in {"sys", "site"}:
            if node.module == "site" or any(alias.name in _SEARCH for alias in node.names):
                return True
    return False


def _leaves(node: ast.AST) -> bool:
    """Whether nothing after this statement is executed. Leaving on a condition does not count: what left does not serve."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(node, ast.Raise) or (isinstance(call, ast.Call) and _last_name(call.func) in _LEAVING_CALLS)


def unsettling_names(body: list[ast.stmt], *, nodes_unsettle: bool) -> set[str]:
    """Functions and classes of a module that unsettle when they are called, directly or through each other.

    `nodes_unsettle`: so does running custom nodes' code, in the way ComfyUI does it.
    """
    definitions = [node for node in body if isinstance(node, _DEFINITIONS)]
    found = {node.name for node in definitions if unsettles(node) or (nodes_unsettle and "exec_module" in _called(node))}
    more = found
    while more:
        more = {node.name for node in definitions if node.name not in found and _called(node) & found}
        found |= more
    return found


def has_prestartup_script(root: str) -> bool:
    """Whether a custom node has a script that ComfyUI runs before most of its imports; some install packages."""
    nodes = os.path.join(root, "custom_nodes")
    names = os.listdir(nodes) if os.path.isdir(nodes) else []
    scripts = [os.path.join(nodes, name, "prestartup_script.py") for name in names if not name.endswith(".disabled")]
    return any(map(os.path.isfile, scripts))


def _without_main_guard(node: ast.stmt) -> list[ast.stmt]:
    """What stands under `if __name__ == "__main__"`: in main.py it is executed like all the rest."""
    return node.body if isinstance(node, ast.If) and ast.dump(node.test) == _MAIN_GUARD else [node]


def executed_parts(statement: ast.stmt) -> Iterator[ast.AST]:
    """What of a statement is executed when it is reached: of a definition its decorators, of a class its body too."""
    if isinstance(statement, _DEFINITIONS):
        yield from statement.decorator_list
        for child in statement.body if isinstance(statement, ast.ClassDef) else []:
            yield from executed_parts(child)
    elif isinstance(statement, ast.If) and _last_name(statement.test) == "TYPE_CHECKING":
        yield from statement.orelse
    else:
        yield statement


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
            raise Problem(f"{self.where(exc.lineno)}: {exc.msg} ({type(exc).__name__})") from exc
        except OSError as exc:
            raise Problem(f"{self.where(1)}: cannot be read: {exc.strerror}") from exc
        self.suspect = _SUSPECT.search(content) is not None

    def where(self, line: int | None) -> str:
        """`file:line`, relative to ComfyUI's folder."""
        return f"{self._shown}:{line or 1}"

    def added_folder(self, statement: ast.AST) -> tuple[int, str] | None:
        """(index, folder) of `sys.path.insert(index, folder)`, index -1 for `append`; None when it cannot be told."""
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.keywords:
            return None
        if not _is_search(call.func.value) or _last_name(call.func.value) != "path":
            return None
        folder = self._text(call.args[-1]) if call.args else None
        constants = [node.value for node in call.args[:-1] if isinstance(node, ast.Constant)]
        index = constants[0] if constants else -1
        known = (call.func.attr, len(call.args), len(constants)) in {("append", 1, 0), ("insert", 2, 1)}
        return (index, folder) if known and folder is not None and isinstance(index, int) else None

    def _text(self, node: ast.expr) -> str | None:
        """What file paths are usually made of, worked out without executing anything."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.Name):
            return self.path if node.id == "__file__" else None
        if not isinstance(node, ast.Call) or node.keywords or _first_name(node.func) not in {"os", "path"}:
            return None
        function = _PATH_FUNCTIONS.get(_last_name(node.func))
        known = [text for text in map(self._text, node.args) if text is not None]
        return function(*known) if function is not None and len(known) == len(node.args) > 0 else None


class Module:
    """What a looked-up name turned out to be. `folders`: where a local package has its submodules; None for all else."""

    def __init__(self) -> None:
        self.folders: list[str] | None = None
        self.names: set[str] = set()

    def learn(self, tree: ast.Module) -> None:
        """Remember every name in the package's own code."""
        for node in ast.walk(tree):
            if isinstance(node, _DEFINITIONS):
                self.names.add(node.name)
            elif isinstance(node, ast.Name):
                self.names.add(node.id)
            elif isinstance(node, ast.alias):
                self.names.add((node.asname or node.name).partition(".")[0])


class Walk:
    """The imports of one ComfyUI, in the order of their execution. `search` is what its sys.path holds after its folder."""

    def __init__(self, main: str, search: list[str]) -> None:
        self._main = main
        self._root = os.path.dirname(main)
        self._search = [self._root, *search]
        self._modules: dict[str, Module] = {}
        self._unsettling: set[str] = set()
        self._certain = True

    def run(self) -> None:
        """Raises Problem for the first import that would fail, Unsure where nothing more can be said."""
        self._execute_file(self._main, "", Module())

    def _execute_file(self, path: str, package: str, module: Module) -> None:
        source = Source(path, self._root, package)
        body = source.tree.body
        if path == self._main:
            body = [inner for node in body for inner in _without_main_guard(node)]
        if module.folders is not None:
            module.learn(source.tree)
        if source.suspect:
            nodes_unsettle = path == self._main and has_prestartup_script(self._root)
            self._unsettling |= unsettling_names(body, nodes_unsettle=nodes_unsettle)
        for statement in body:
            if isinstance(statement, _IMPORTS):
                self._import(statement, source)
            else:
                for part in executed_parts(statement):
                    self._execute(part, source)

    def _execute(self, part: ast.AST, source: Source) -> None:
        added = source.added_folder(part)
        if added is not None and self._certain:
            index, folder = added
            self._search.insert(len(self._search) if index == -1 else index, folder)
            return
        if (
            _leaves(part)
            or (source.suspect and unsettles(part))
            or (self._unsettling and _called(part) & self._unsettling)
        ):
            raise Unsure(source.where(getattr(part, "lineno", 1)))
        for node in ast.walk(part) if isinstance(part, ast.stmt) else []:
            if isinstance(node, _IMPORTS):
                self._perhaps_import(node, source)

    def _perhaps_import(self, node: ast.Import | ast.ImportFrom, source: Source) -> None:
        """An import under a condition: that it fails is no problem, what it does to the search may be."""
        modules, certain = dict(self._modules), self._certain
        self._certain = False
        with contextlib.suppress(Problem):
            self._import(node, source)
        self._modules, self._certain = modules, certain

    def _import(self, node: ast.Import | ast.ImportFrom, source: Source) -> None:
        where = source.where(node.lineno)
        if source.suspect and unsettles(node):
            raise Unsure(where)
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._load(alias.name, where)
            return
        package = source.package.split(".") if source.package else []
        if node.level > len(package):
            raise Unsure(where)
        base = ".".join(
            [*(package[: len(package) - node.level + 1] if node.level else []), *filter(None, [node.module])]
        )
        module = self._load(base, where)
        for alias in node.names if module.folders is not None else []:
            # A name that the package's own code knows may be anything; else it is a submodule, if there is one.
            if not module.names & {alias.name, "*", "__getattr__"} and PathFinder.find_spec(alias.name, module.folders):
                self._load(f"{base}.{alias.name}", where)

    def _load(self, dotted: str, where: str) -> Module:
        """Import `dotted` and the packages around it. Of a package that is not local only the top is looked up."""
        name, module = "", None
        for part in dotted.split("."):
            if module is not None and module.folders is None:
                break
            name = f"{name}.{part}" if name else part
            module = self._modules.get(name) or self._find(name, part, module, where)
        return module or Module()

    def _find(self, name: str, part: str, package: Module | None, where: str) -> Module:
        spec = find_top(part, self._search) if package is None else PathFinder.find_spec(part, package.folders)
        if spec is None:
            if package is not None and "__path__" in package.names:
                raise Unsure(where)
            raise Problem(f"{where}: No module named {name!r}")
        module = self._modules[name] = Module()
        file = spec.origin if spec.has_location and spec.origin else ""
        folders = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if (package is not None or part not in _STANDARD) and self._are_local([file] if file else folders or []):
            module.folders = folders
            if file.endswith(".py"):
                self._execute_file(file, name if folders is not None else name.rpartition(".")[0], module)
        return module

    def _are_local(self, places: list[str]) -> bool:
        relative = [os.path.relpath(os.path.realpath(place), os.path.realpath(self._root)) for place in places]
        return bool(places) and not any(place.startswith("..") or "-packages" in place for place in relative)


def find_top(name: str, search: list[str]) -> ModuleSpec | None:
    """Where Python would find the top-level module `name`: every finder there is, with `search` for sys.path."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, search if finder is PathFinder else None)
        except Exception:  # somebody else's finder, as editable installs have them: taken as a yes
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
    except Exception as exc:  # a fault of ours must not refuse a good environment
        return "", f"not checked: {type(exc).__name__}: {exc}"
    return "", ""


if __name__ == "__main__":
    gc.disable()  # syntax trees are many objects and no cycles: a third of the time
    warnings.simplefilter("ignore")
    folder = os.path.abspath(sys.argv[1])
    os.chdir(folder)
    found, noted = examine(os.path.realpath(os.path.join(folder, "main.py")), sys.path)
    version = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(json.dumps({"ok": not found, "problem": found, "python": version, "note": noted}) + "\n")
