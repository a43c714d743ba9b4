"""The plugin that ties scenario ids to tests, run by an inner pytest."""

import pytest

pytestmark = pytest.mark.slow

ONE_TEST_EACH = """
    import pytest

    @pytest.mark.scenario("HC-01", "HC-02")
    def test_first():
        pass

    @pytest.mark.scenario("HC-03")
    def test_second():
        {second}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty project with three scenarios due."""
    pytester.makeini("""
        [pytest]
        testpaths = tests
        scenarios_file = due.toml
        markers = scenario(*ids): shows these
    """)
    pytester.makefile(".toml", due='[due]\nHC-01 = "healthy"\nHC-02 = "dead"\nHC-03 = "never ready"')
    pytester.mkdir("tests")
    return pytester


def run(suite: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    path = suite.makepyfile(test_it=source)
    path.rename(suite.path / "tests" / "test_it.py")
    return suite.runpytest(
        "-p", "tests.helpers.scenario_ledger", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments
    )


def test_a_whole_run_that_shows_every_due_scenario_succeeds(suite):
    result = run(suite, ONE_TEST_EACH.format(second="pass"))
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["scenarios: all 3 that are due have a passing test"])


@pytest.mark.parametrize(
    "second",
    ["assert False", "pytest.skip('not here')", "pytest.xfail('not yet')"],
    ids=["failed", "skipped", "xfailed"],
)
def test_a_scenario_whose_only_test_did_not_pass_fails_the_run(suite, second):
    result = run(suite, ONE_TEST_EACH.format(second=second))
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["HC-03 has no passing test: never ready"])
    result.stdout.no_fnmatch_line("HC-0[12] has no*")


def test_a_test_that_fails_in_its_teardown_shows_nothing(suite):
    source = """
        import pytest

        @pytest.fixture
        def broken():
            yield
            assert False

        @pytest.mark.scenario("HC-01", "HC-02", "HC-03")
        def test_it(broken):
            pass
    """
    result = run(suite, source)
    result.stdout.fnmatch_lines(["HC-01 has no passing test: healthy"])


def test_one_passing_test_is_enough_beside_a_failing_one(suite):
    source = (
        ONE_TEST_EACH.format(second="pass")
        + """
    @pytest.mark.scenario("HC-03")
    def test_third():
        assert False
    """
    )
    result = run(suite, source)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.no_fnmatch_line("*has no passing test*")


@pytest.mark.parametrize(
    "selection",
    [
        ["-k", "first"],
        ["-m", "scenario"],
        ["tests/test_it.py::test_first"],
        ["--deselect", "tests/test_it.py::test_second"],
    ],
    ids=["keyword", "mark", "node", "deselect"],
)
def test_a_selection_may_leave_scenarios_out(suite, selection):
    result = run(suite, ONE_TEST_EACH.format(second="pass"), *selection)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("HC-*")


@pytest.mark.parametrize("argument", ["tests", "."])
def test_naming_the_folder_of_all_tests_is_no_selection(suite, argument):
    result = run(suite, "def test_it(): pass", argument)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["HC-01 has no passing test: healthy"])


@pytest.mark.parametrize("selection", [[], ["-k", "unlisted"]], ids=["whole", "selection"])
def test_an_id_that_is_not_listed_fails_the_run_and_names_the_test(suite, selection):
    source = (
        ONE_TEST_EACH.format(second="pass")
        + """
    @pytest.mark.scenario("B-99")
    def test_unlisted():
        pass
    """
    )
    result = run(suite, source, *selection)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["B-99 is not listed as due, but carried by tests/test_it.py::test_unlisted"])


def test_a_marker_without_an_id_is_a_usage_error(suite):
    result = run(suite, "import pytest\n\n@pytest.mark.scenario()\ndef test_it(): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*test_it: @pytest.mark.scenario needs at least one id"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("second", "code"), [("pass", pytest.ExitCode.OK), ("assert False", pytest.ExitCode.TESTS_FAILED)]
)
def test_the_ledger_is_kept_across_workers(suite, second, code):
    result = run(suite, ONE_TEST_EACH.format(second=second), "-n", "2")
    assert result.ret == code
    result.stdout.no_fnmatch_line("HC-0[12] has no*")
    expected = "HC-03 has no passing test*" if code else "scenarios: all 3 *"
    result.stdout.fnmatch_lines([expected])
