"""Which names may become a path at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.workspace import name_problem

pytestmark = pytest.mark.scenario("B-27")

BAD = {
    "empty": "",
    "here": ".",
    "above": "..",
    "climbing": "../x",
    "below": "a/b",
    "absolute": "/etc",
    "backslash": "a\\b",
    "newline": "a\nb",
    "nul": "a\0b",
    "escape": "a\x1bb",
    "delete": "a\x7fb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "surrogate": "a\udc80b",
    "long": "x" * 300,
    "long in bytes": "ä" * 128,
    "leading space": " a",
    "trailing space": "a ",
    "only space": " ",
    "option": "-rf",
    "reserved": "models",
    "reserved in capitals": "LOGS",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD.keys())
def test_a_bad_name_is_refused_in_one_short_printable_line(name):
    problem = name_problem(name)
    assert problem
    assert problem.isprintable()
    assert len(problem) < 200


@pytest.mark.parametrize("name", ["a", "my env", "prod-2", "v1.2", "größe", "x" * 255, "..x", "con", "a:b", "👩‍🎨"])
def test_a_good_name_has_no_problem(name):
    assert name_problem(name) == ""


def test_the_name_is_repeated():
    assert repr("../x") in name_problem("../x")


@given(st.text(max_size=400))
def test_a_name_without_a_problem_is_one_part_of_a_path(name):
    if not name_problem(name):
        assert "/" not in name
        assert name not in {"", ".", ".."}
        assert len(name.encode()) <= 255
        assert name.isprintable() or not set(name) & set("\0\r\n\t\x1b")
