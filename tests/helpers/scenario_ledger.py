"""A pytest plugin: a whole run fails while a scenario that is due has no passing test, or a test has an unlisted id.

The due ones are the keys of the table `[due]` in the file that the ini option `scenarios_file` names; a test carries
its ids in `@pytest.mark.scenario("HC-01", ...)`. They travel in each report's `user_properties`, so that xdist's
workers run the tests and the process that started them keeps the ledger.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

PROPERTY = "scenario"


class Ledger:
    """Which test showed which scenario. `whole`: nothing was left out, so that a missing one is a fault."""

    def __init__(self, due: Mapping[str, str], *, whole: bool) -> None:
        self.due = due
        self.whole = whole
        self.tests: dict[str, set[str]] = {}
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == PROPERTY:
                self.tests.setdefault(str(value), set()).add(report.nodeid)
        if report.failed:
            self.failed.add(report.nodeid)
        elif report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            self.passed.add(report.nodeid)

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.faults() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(trylast=True)  # after the table of coverage, where it is seen
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        faults = self.faults()
        if faults:
            terminalreporter.section("scenarios", red=True)
            for fault in faults:
                terminalreporter.line(fault)
        elif self.whole:
            terminalreporter.line(f"scenarios: all {len(self.due)} that are due have a passing test")

    def faults(self) -> list[str]:
        """One line per listed id without a passing test (only of a whole run) and per id that is not listed."""
        shown = {id_ for id_, tests in self.tests.items() if tests & self.passed - self.failed}
        missing = [id_ for id_ in self.due if id_ not in shown] if self.whole else []
        unlisted = sorted(self.tests.keys() - self.due.keys())
        return [
            *(f"{id_} has no passing test: {self.due[id_]}" for id_ in missing),
            *(f"{id_} is not listed as due, but carried by {min(self.tests[id_])}" for id_ in unlisted),
        ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("scenarios_file", "TOML file whose table [due] maps scenario id to behaviour", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    files: list[Path] = config.getini("scenarios_file")
    if files and not hasattr(config, "workerinput"):
        due = tomllib.loads(files[0].read_text("utf-8"))["due"]
        config.pluginmanager.register(Ledger(due, whole=is_whole(config)), "scenario-ledger")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for marker in item.iter_markers("scenario"):
            if not marker.args:
                message = f"{item.nodeid}: @pytest.mark.scenario needs at least one id"
                raise pytest.UsageError(message)
            item.user_properties += [(PROPERTY, id_) for id_ in marker.args]


def is_whole(config: pytest.Config) -> bool:
    """Whether every test of `testpaths` runs: no option leaves one out."""
    option = config.option
    chosen = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")
    if any(getattr(option, name, None) for name in chosen):
        return False
    given = {(config.invocation_params.dir / argument).resolve() for argument in config.args}
    testpaths = {(config.rootpath / path).resolve() for path in config.getini("testpaths")}
    return all(any(path.is_relative_to(folder) for folder in given) for path in testpaths)
