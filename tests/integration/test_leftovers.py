"""The plugin that finds what tests leave behind, run by an inner pytest on real processes and files."""

import re

import psutil
import pytest

from tests.helpers.hiding import may_make_groups

pytestmark = pytest.mark.slow


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makeconftest('pytest_plugins = ["tests.helpers.leftovers"]')
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:hypothesispytest", *arguments)


def start(command: str) -> str:
    return f"""
        import subprocess, sys

        def test_leaves_a_process():
            subprocess.Popen({command}, start_new_session=True).returncode = 0
    """


SLEEPER = '[sys.executable, "-c", "import signal; signal.pause()", "marked-sleeper"]'
DOUBLE_FORK = f"""[sys.executable, "-c", 'import subprocess, sys; subprocess.Popen({SLEEPER})']"""


@pytest.mark.parametrize(
    ("command", "workers"),
    [(SLEEPER, "0"), (DOUBLE_FORK, "0"), (SLEEPER, "1")],
    ids=["child", "reparented", "of a worker"],
)
def test_a_process_left_behind_fails_the_run_and_is_ended(pytester, command, workers):
    result = run(pytester, start(command), "-n", workers)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["process *marked-sleeper (started by *test_leaves_a_process*"])
    pids = re.findall(r"process (\d+):", result.stdout.str())
    assert [pid for pid in pids if psutil.pid_exists(int(pid))] == []


@pytest.mark.skipif(not may_make_groups(), reason="no cgroup may be made here")
def test_one_that_has_lost_its_environment_and_its_parent_is_found_in_the_cgroup_of_the_run(pytester):
    lost = f"""[sys.executable, "-c", 'import subprocess, sys; subprocess.Popen({SLEEPER}, env={{}})']"""
    result = run(pytester, start(lost))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["process *marked-sleeper (started by no test)*"])
    pids = re.findall(r"process (\d+):", result.stdout.str())
    assert [pid for pid in pids if psutil.pid_exists(int(pid))] == []


def test_a_temporary_file_left_behind_fails_the_run(pytester):
    source = """
        import tempfile

        def test_leaves_a_file():
            tempfile.mkdtemp(prefix="left-")
    """
    result = run(pytester, source)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["temporary file *left-*"])


def test_what_is_cleaned_up_is_no_leftover(pytester):
    source = """
        import subprocess, sys, tempfile

        def test_is_tidy(tmp_path):
            (tmp_path / "kept by pytest").touch()
            with tempfile.NamedTemporaryFile():
                assert subprocess.run([sys.executable, "-c", ""]).returncode == 0
    """
    assert run(pytester, source).ret == pytest.ExitCode.OK
