"""What `tools/test` makes of its command line."""

import pytest

import checks

STATIC_ONLY_WHEN_WHOLE = [
    ([], True),
    (["-v"], True),
    (["-n", "0", "-p", "no:randomly"], True),
    (["--maxfail=1"], True),
    (["--fast"], True),
    (["--unit"], False),
    (["--integration", "--cov"], False),
    (["-k", "lock"], False),
    (["-mslow"], False),
    (["--lf"], False),
    (["--deselect=tests/unit/test_clock.py"], False),
    (["tests/unit"], False),
    (["tests/unit/test_not_there.py"], False),
    (["tests/unit/test_checks.py::test_it", "-x"], False),
]


def marks(wish: checks.Wish) -> str:
    return wish.pytest[wish.pytest.index("-m") + 1] if "-m" in wish.pytest else ""


@pytest.mark.parametrize(("argv", "static"), STATIC_ONLY_WHEN_WHOLE)
def test_a_selection_of_tests_leaves_out_the_static_checks(argv, static):
    assert checks.understand(argv).static is static


def test_the_whole_run_measures_coverage_and_demands_its_floor():
    arguments = checks.understand([]).pytest
    assert "--cov" in arguments
    assert "--cov-fail-under=90" in arguments
    assert "-m" not in arguments


def test_coverage_of_a_selection_has_no_floor():
    arguments = checks.understand(["--unit", "--cov"]).pytest
    assert "--cov" in arguments
    assert not any("fail-under" in argument for argument in arguments)


def test_a_file_after_cov_is_still_what_is_tested():
    arguments = checks.understand(["tests/unit/test_clock.py", "--cov"]).pytest
    assert arguments[arguments.index("--cov") + 1].startswith("-")
    assert arguments[-1] == "tests/unit/test_clock.py"


def test_fast_leaves_out_the_slow_ones_and_coverage():
    wish = checks.understand(["--fast"])
    assert marks(wish) == "not slow and not e2e"
    assert "--cov" not in wish.pytest


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--unit"], "(unit)"),
        (["--unit", "--integration"], "(unit or integration)"),
        (["--fast", "--integration"], "not slow and not e2e and (integration)"),
    ],
)
def test_kinds_become_a_mark_expression(argv, expected):
    assert marks(checks.understand(argv)) == expected


def test_what_is_not_ours_goes_to_pytest_in_its_order():
    assert checks.understand(["-x", "--unit", "-k", "a or b", "--tb=short"]).pytest[-4:] == (
        "-x",
        "-k",
        "a or b",
        "--tb=short",
    )


def test_long_asks_for_more_examples_and_more_time():
    assert {"--hypothesis-profile=long", "--timeout=900"} <= set(checks.understand(["--long"]).pytest)


def test_the_summary_names_every_step_and_counts_the_failed_ones():
    results = [checks.Result("mypy", 1, 2.0, "bad"), checks.Result("pytest", 0, 61.5, "")]
    assert checks.summarise(results, 63.5).splitlines()[1:] == [
        "FAILED  mypy                    2.0 s",
        "ok      pytest                 61.5 s",
        "1 of 2 steps failed in 63.5 s",
    ]


def test_help_leads_with_examples_of_use(capsys):
    with pytest.raises(SystemExit) as left:
        checks.main(["--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith("  tools/test   ")
