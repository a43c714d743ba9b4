"""What differs between two inventories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.inventory import Difference, compare

BEFORE = ("ComfyUI\t\taaa", "node\tgone\t1", "node\tkept\t", "node\tmoved\t1", "package\tnumpy\t2.0")
AFTER = (
    "ComfyUI\t\tbbb",
    "disabled node\tgone\t1",
    "node\tkept\t",
    "node\tmoved\t2",
    "node\tnew\t",
    "package\tnumpy\t2.0",
)


def test_what_came_what_went_and_what_changed():
    assert compare(BEFORE, AFTER) == (
        Difference("ComfyUI", "", "aaa", "bbb"),
        Difference("disabled node", "gone", "", "1"),
        Difference("node", "gone", "1", ""),
        Difference("node", "moved", "1", "2"),
        Difference("node", "new", "", "?"),
    )


def test_a_part_that_is_there_twice_shows_both_versions():
    assert compare(["package\ta\t1", "package\ta\t2"], ["package\ta\t2"]) == (Difference("package", "a", "1, 2", "2"),)


@pytest.mark.parametrize("line", ["", "node", "node\tname", "no tabs here"])
def test_a_line_that_is_none_is_passed_over(line):
    assert compare([line], []) == ()


LINES = st.lists(
    st.builds("{}\t{}\t{}".format, st.sampled_from(["node", "file"]), st.sampled_from("ab"), st.sampled_from("12"))
)


@given(LINES, LINES)
def test_the_other_way_round_before_and_after_are_exchanged(one, other):
    there = compare(one, other)
    back = compare(other, one)
    assert back == tuple(Difference(d.kind, d.name, d.after, d.before) for d in there)
    assert compare(one, reversed(one)) == ()
