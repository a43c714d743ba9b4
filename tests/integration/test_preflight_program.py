"""What the import check sees, and where it rather says nothing: a wrong refusal is worse than a late failure."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from orchestrator.environments.preflight_program import examine

Check = Callable[[Mapping[str, str]], tuple[str, str]]

MISSING = "import no_such_package\n"
INSERTED = "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), 'below'))\n"


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """(problem, note) for a ComfyUI of these files; those under `lib/` are what is installed."""

    def check(files: Mapping[str, str]) -> tuple[str, str]:
        for name, content in files.items():
            file = tmp_path / "ComfyUI" / name if not name.startswith("lib/") else tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, "utf-8")
        return examine(str(tmp_path / "ComfyUI" / "main.py"), [str(tmp_path / "lib")])

    return check


def _path(name: str) -> str:
    return f"{name if '/' in name else name.replace('__', '/')}.py"


def files(main: str, **modules: str) -> dict[str, str]:
    """main.py and modules; `__` in a module's name stands for a folder."""
    return {"main.py": main, **{_path(name): content for name, content in modules.items()}}


BROKEN = {
    "import": (files(MISSING), "main.py:1"),
    "import of an inner module": (files("import no_such_package.a.b\n"), "main.py:1"),
    "from import": (files("from no_such_package import a\n"), "main.py:1"),
    "second name of an import": (files("import json, no_such_package\n"), "main.py:1"),
    "two modules away": (files("import a", a="import b", b="\n" + MISSING), "b.py:2"),
    "in a package": (files("import pkg.a", **{"pkg/__init__": "", "pkg__a": MISSING}), "pkg/a.py:1"),
    "in the package around": (files("import pkg.a", **{"pkg/__init__": MISSING, "pkg__a": ""}), "pkg/__init__.py:1"),
    "in a folder without __init__": (files("import pkg.inner.a", pkg__inner__a=MISSING), "pkg/inner/a.py:1"),
    "a submodule by from": (files("from pkg import a", **{"pkg/__init__": "", "pkg__a": MISSING}), "pkg/a.py:1"),
    "relative": (
        files("import pkg.a", **{"pkg/__init__": "", "pkg__a": "from . import b", "pkg__b": MISSING}),
        "pkg/b.py:1",
    ),
    "relative from above": (files("import p.q.a", p__q__a="from ..b import c", p__b=MISSING), "p/b.py:1"),
    "in a class body's neighbour": (files("class A:\n    x = 1\n" + MISSING), "main.py:3"),
    "under the main guard": (files("if __name__ == '__main__':\n    import no_such_package\n"), "main.py:2"),
    "after a look at sys.modules": (
        files("import sys\nif 'torch' in sys.modules:\n    print(1)\n" + MISSING),
        "main.py:4",
    ),
    "after a read of sys.path": (
        files("import sys\nx = sys.path[0]\nfor p in sys.path:\n    pass\n" + MISSING),
        "main.py:5",
    ),
    "after a conditional exit": (files("import sys\nif len(sys.argv) > 9:\n    sys.exit(1)\n" + MISSING), "main.py:4"),
    "after a definition that installs": (files("def f():\n    import pip\n    pip.main([])\n" + MISSING), "main.py:4"),
    "after running a program": (files("import subprocess\nsubprocess.run(['nvidia-smi'])\n" + MISSING), "main.py:3"),
    "after a model's eval": (files("import json\nmodel = json\nx = model.eval()\n" + MISSING), "main.py:4"),
    "after a conditional import": (
        files("try:\n    import a\nexcept ImportError:\n    pass\n" + MISSING, a=MISSING),
        "main.py:5",
    ),
    "first conditional, then not": (
        files("try:\n    import a\nexcept ImportError:\n    pass\nimport a", a=MISSING),
        "a.py:1",
    ),
    "in a circle": (files("import a", a="import b", b="import a\n" + MISSING), "b.py:2"),
    "for a type checker, then really": (
        files(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n" + MISSING,
            a="import sys\nsys.path += []",
        ),
        "main.py:4",
    ),
}


@pytest.mark.scenario("B-05")
@pytest.mark.parametrize(("tree", "place"), BROKEN.values(), ids=BROKEN.keys())
def test_a_missing_module_is_found(check, tree, place):
    problem, note = check(tree)
    assert problem == f"{place}: No module named {problem.split()[-1]}"
    assert note == ""


GOOD = {
    "in try": files("try:\n    import no_such_package\nexcept ImportError:\n    pass\n"),
    "in if": files("import os\nif os.name == 'else':\n    import no_such_package\n"),
    "in a function": files("def f():\n    import no_such_package\n"),
    "in a method": files("class A:\n    def f(self):\n        import no_such_package\n"),
    "in with": files("from contextlib import suppress\nwith suppress(ImportError):\n    import no_such_package\n"),
    "for a type checker": files("import typing\nif typing.TYPE_CHECKING:\n    import no_such_package\n"),
    "main guard of a module": files("import a", a="if __name__ == '__main__':\n    import no_such_package\n"),
    "in a module imported in try": files("try:\n    import a\nexcept ImportError:\n    pass\n", a=MISSING),
    "syntax error in a module imported in try": files("try:\n    import a\nexcept Exception:\n    pass\n", a="<<<"),
    "inner module of something installed": {"main.py": "import inst.gone", "lib/inst/__init__.py": ""},
    "what something installed imports": {"main.py": "import inst", "lib/inst.py": MISSING},
    "a name that the package binds": files("from p import a", **{"p/__init__": "a = 1", "p__a": MISSING}),
    "a name of a star import": files("from p import a", **{"p/__init__": "from json import *", "p__a": MISSING}),
    "a name made on demand": files("from p import a", **{"p/__init__": "def __getattr__(n): ...", "p__a": MISSING}),
    "a name that is nowhere": files("from p import a", **{"p/__init__": ""}),
    "built-in": files("import sys, time, _thread, builtins, __main__"),
    "future": files("from __future__ import annotations"),
    "circle": files("import a", a="import b", b="import a"),
    "standard library before a local module": files("import json", json=MISSING),
    "installed package before a folder of that name": {
        "main.py": "import models",
        "models/checkpoints/x.py": MISSING,
        "lib/models/__init__.py": "",
    },
    "an added folder below": files(
        INSERTED + "import a",
        below__a="",
    ),
    "an added folder, our own": files(
        "import p.x",
        p__x="import os, sys\nsys.path.append(os.path.dirname(os.path.abspath(__file__)))\nimport y",
        p__y="",
    ),
}


@pytest.mark.parametrize("tree", GOOD.values(), ids=GOOD.keys())
def test_what_may_well_work_is_no_problem(check, tree):
    assert check(tree) == ("", "")


def test_a_folder_added_in_front_stands_in_front(check):
    problem, _ = check(files(INSERTED + "import a", a="", below__a=MISSING))
    assert problem.startswith("below/a.py:1: ")


UNSURE = {
    "path appended": "import sys\nsys.path.append(input())\n",
    "path extended": "import sys\nsys.path += ['x']\n",
    "path assigned": "import sys\nsys.path[0] = 'x'\n",
    "path sliced": "import sys\nsys.path[:0] = ['x']\n",
    "path passed on": "import sys, bisect\nbisect.insort(sys.path, 'x')\n",
    "path by another name": "from sys import path\n",
    "path under a condition": "import sys\nif sys.argv:\n    sys.path.append('x')\n",
    "path in a function called": "import sys\ndef f():\n    sys.path.append('x')\nf()\n",
    "path in a function called by another": "import sys\ndef g():\n    f()\ndef f():\n    sys.path.append('x')\ng()\n",
    "path in a class body": "import sys\nclass A:\n    sys.path.append('x')\n",
    "path in a constructor": "import sys\nclass A:\n    def __init__(self):\n        sys.path.append('x')\nA()\n",
    "path in a decorator": "import sys\ndef f(x):\n    sys.path.append('x')\n@f\ndef g(): ...\n",
    "path in another module's function": "import helper\nhelper.change()\n",
    "path by a module": "import changer\n",
    "path by a module in try": "try:\n    import changer\nexcept ImportError:\n    pass\n",
    "modules set": "import sys\nsys.modules['no_such_package'] = sys\n",
    "modules updated": "import sys\nsys.modules.update(no_such_package=sys)\n",
    "finder added": "import sys\nsys.meta_path.append(None)\n",
    "site": "import site\nsite.addsitedir('x')\n",
    "code as text": "exec('x = 1')\n",
    "module by name": "import importlib\nimportlib.import_module('json')\n",
    "pip": "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', 'x'])\n",
    "pip when needed": "try:\n    import x\nexcept ImportError:\n    import os\n    os.system('pip install x')\n",
    "another program": "import os, sys\nif sys.argv:\n    os.execv('x', [])\n",
    "exit": "import sys\nsys.exit(0)\n",
    "plain exit": "exit()\n",
    "raise": "raise SystemExit\n",
    "relative import out of the packages": "from ... import x\n",
}


@pytest.mark.parametrize("before", UNSURE.values(), ids=UNSURE.keys())
def test_after_what_may_change_the_search_nothing_is_called_missing(check, before):
    tree = files(
        before + MISSING,
        helper="import sys\ndef change():\n    sys.path.append('x')\n",
        changer="import sys\nsys.path.append(input())\n",
    )
    problem, note = check(tree)
    assert problem == ""
    assert note.startswith("not sure after ")


def test_a_package_that_moves_its_folders_may_have_any_submodule(check):
    tree = files("import p.anything", **{"p/__init__": "__path__.append('x')"})
    assert check(tree) == ("", "not sure after main.py:1")


PRESTARTUP = "def execute_prestartup_script():\n    spec.loader.exec_module(module)\nexecute_prestartup_script()\n"


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("custom_nodes/manager/prestartup_script.py", False),
        ("custom_nodes/manager.disabled/prestartup_script.py", True),
        ("custom_nodes/manager/other.py", True),
    ],
)
def test_a_prestartup_script_may_install_what_is_missing(check, script, found):
    problem, _ = check({**files(PRESTARTUP + MISSING), script: ""})
    assert bool(problem) is found


def test_a_chain_of_conditional_imports_is_walked_once(check):
    tries = "try:\n    import m{0}\n    from m{0} import x\nexcept ImportError:\n    pass\n"
    chain = {f"m{number}": tries.format(number + 1) for number in range(40)}
    assert check(files(tries.format(0), **chain)) == ("", "")


def test_a_main_that_cannot_be_read_is_a_problem(check, tmp_path):
    assert check({"other.py": ""}) == ("main.py cannot be read: No such file or directory", "")


def test_what_the_program_itself_cannot_do_refuses_nothing(check):
    problem, note = check(files("import a", a="x = " + "-" * 20_000 + "1"))
    assert problem == ""
    assert note == "" or note.startswith("not checked: ")


def test_a_finder_that_fails_is_taken_as_a_yes(check, monkeypatch):
    class Failing:
        def find_spec(self, name: str, path: object) -> None:
            raise KeyError(name)

    monkeypatch.setattr("sys.meta_path", [*sys.meta_path, Failing()])
    assert check(files(MISSING)) == ("", "")
