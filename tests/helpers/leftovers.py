"""A pytest plugin: the run fails when a process or a temporary file is left behind, names them, and removes them.

Everything that a test starts inherits two variables: one that marks this session, and a TMPDIR of its own. pytest's
`tmp_path` folders stay where they always are; pytest removes those itself.
"""

import contextlib
import getpass
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

SESSION_VARIABLE = "ORCHESTRATOR_TEST_SESSION"
MOST_LOOKS = 10
GRACE_S = 2.0
"""How long a process that is about to end anyway may take."""
HARMLESS = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
"""Helpers that Python keeps until its own end."""
KEPT_BY_UV = "uv-*.lock"
"""Empty files that uv locks a project by, and leaves in the temporary folder on purpose."""


class Leftovers:
    """In a worker: looks for its own descendants and sends word. In the main process: collects that, looks further."""

    def __init__(self, session_id: str, folder: Path) -> None:
        self.session_id = session_id
        self.folder = folder
        self.found: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        worker_output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if worker_output is not None:
            worker_output["leftovers"] = end_all(descendants)
            return
        self.found += end_all(self._processes)
        files = [path for path in sorted(self.folder.iterdir()) if not path.match(KEPT_BY_UV)]
        self.found += [f"temporary file {path}" for path in files]
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _processes(self) -> set[psutil.Process]:
        return descendants() | marked_processes(self.session_id) | grouped_processes(_group(self.session_id))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.found += getattr(node, "workeroutput", {}).get("leftovers", [])

    @pytest.hookimpl(trylast=True)  # after the table of coverage, where it is seen
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.found:
            terminalreporter.section("left behind", red=True)
            for line in self.found:
                terminalreporter.line(line)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        plugin = Leftovers(os.environ[SESSION_VARIABLE], Path(os.environ["TMPDIR"]))
        config.pluginmanager.register(plugin, "leftovers")
        return
    root = os.environ.get("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="orchestrator-tests-"))
    patch = pytest.MonkeyPatch()
    config.add_cleanup(lambda: _remove(folder, Path(root, f"pytest-of-{getpass.getuser()}")))
    config.add_cleanup(patch.undo)
    session_id = uuid.uuid4().hex
    patch.setenv(SESSION_VARIABLE, session_id)
    patch.setenv("PYTEST_DEBUG_TEMPROOT", root)
    patch.setenv("TMPDIR", str(folder))
    patch.setattr(tempfile, "tempdir", None)
    config.add_cleanup(_enter_a_cgroup(_group(session_id)))
    config.pluginmanager.register(Leftovers(session_id, folder), "leftovers")


def _group(session_id: str) -> str:
    return f"orchestrator-tests-{session_id}"


def _enter_a_cgroup(name: str) -> Callable[[], None]:
    """Move this process, and so all that the tests start, into a cgroup, where we may. What is to be called at the end.

    Orchestrators that tests kill leave theirs in it, empty: all of them are removed with it.
    """
    from orchestrator.processes import cgroups  # pytest wants to import this module first

    outside = cgroups.own_group()
    if outside is None:
        return lambda: None
    with contextlib.suppress(OSError):
        (outside / name).mkdir()
        cgroups.write(outside / name / "cgroup.procs", os.getpid())

    def leave() -> None:
        cgroups.write(outside / "cgroup.procs", os.getpid())
        cgroups.remove([outside / name])

    return leave


def grouped_processes(name: str) -> set[psutil.Process]:
    """Every process but this one that is in the cgroup `name`: also one that has lost the session's mark."""
    from orchestrator.processes import cgroups

    own = cgroups.own_group()
    found = set()
    for pid in () if own is None or own.name != name else cgroups.pids(own):
        with contextlib.suppress(psutil.Error):
            found |= {psutil.Process(pid)} - {psutil.Process()}
    return found


def marked_processes(session_id: str) -> set[psutil.Process]:
    """Every process but this one that inherited the session's mark, whoever its parent is by now."""
    found = set()
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(SESSION_VARIABLE) == session_id:
                found.add(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or of another user
    return found


def descendants() -> set[psutil.Process]:
    """Every process that is known to come from this one."""
    return set(psutil.Process().children(recursive=True))


def end_all(find: Callable[[], set[psutil.Process]]) -> list[str]:
    """A line for each process that `find` gives and that does not end by itself in the grace time; those are killed.

    One that ends may have started another one meanwhile, so this looks again until there are none.
    """
    lines: list[str] = []
    for _ in range(MOST_LOOKS):
        processes = {process for process in find() if not _is_harmless(process)}
        if not processes:
            break
        _gone, alive = psutil.wait_procs(processes, GRACE_S)
        lines += map(_describe, alive)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, GRACE_S)
    return lines


def _is_harmless(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return any(name in command for name in HARMLESS)


def _describe(process: psutil.Process) -> str:
    try:
        command, test = " ".join(process.cmdline()), process.environ().get("PYTEST_CURRENT_TEST", "no test")
    except (psutil.Error, OSError):
        command, test = "it cannot be read", "nobody knows which test"
    return f"process {process.pid}: {command or process.name()} (started by {test})"


def _remove(folder: Path, home_of_tmp_paths: Path) -> None:
    """Remove our folder, and pytest's if nothing is kept in it."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        home_of_tmp_paths.rmdir()
