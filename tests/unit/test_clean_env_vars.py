"""The fixture that every test has, asked for or not."""

import os

import pytest

SUITE = """
    import os

    def ours():
        return [name for name in os.environ if name.startswith("COMFYGIT_")]

    def test_first():
        assert ours() == []
        os.environ["COMFYGIT_SUPERVISED"] = "1"

    def test_second():
        assert ours() == []
"""


def test_no_variable_of_ours_reaches_a_test_nor_outlives_it(pytester, monkeypatch):
    monkeypatch.setenv("COMFYGIT_HOME", "outside")
    pytester.makeconftest("from tests.conftest import clean_env_vars")
    pytester.makepyfile(SUITE)

    result = pytester.runpytest_inprocess("-p", "no:randomly")

    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(passed=2)
    assert os.environ["COMFYGIT_HOME"] == "outside"
    assert "COMFYGIT_SUPERVISED" not in os.environ
