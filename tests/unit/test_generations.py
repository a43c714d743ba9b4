"""Which generation a name means, and where a rollback goes."""

import attrs
import pytest

from journal.events import Evidence
from projections.generations import (
    Candidate,
    Generation,
    Spent,
    find,
    latest_of,
    remembered,
    rollback_candidates,
    same_content,
)
from tests.helpers.histories import stamp


def generation(
    number: int, environment: str, fingerprint: str = "1", *, proven: bool = False, disproved: str = ""
) -> Generation:
    return Generation(
        generation=number,
        environment=environment,
        fingerprint=fingerprint,
        evidence=Evidence.PROBED,
        recorded=stamp(number),
        arguments=(),
        proven=proven,
        disproved=disproved,
    )


OLD_A, B, NEW_A = generation(1, "a", "old"), generation(2, "b"), generation(3, "a", "new")


def candidates(*generations, served=None, source="", spent=()):
    failed = frozenset((environment, "") for environment in spent)
    found = rollback_candidates(generations, served=served, source=source, spent=Spent(failed))
    return [(candidate.environment, candidate.generation) for candidate in found]


def test_a_generation_is_found_by_its_number():
    assert find((OLD_A, B), 2) is B
    assert find((OLD_A, B), 7) is None


def test_the_latest_of_an_environment_is_the_newest_that_nothing_speaks_against():
    assert latest_of((OLD_A, B, NEW_A), "a") is NEW_A
    assert latest_of((OLD_A, B, attrs.evolve(NEW_A, disproved="it crashed")), "a") is OLD_A
    assert latest_of((OLD_A, B), "c") is None


@pytest.mark.parametrize(
    ("fingerprint", "same"),
    [("new", True), ("old", False), ("", False)],
    ids=["as it was last", "as it was before that", "unknown"],
)
def test_the_same_content_is_that_of_the_latest_generation(fingerprint, same):
    assert (same_content((OLD_A, B, NEW_A), "a", fingerprint) is NEW_A) is same


def test_two_unknown_contents_are_not_the_same():
    assert same_content((generation(1, "a", ""),), "a", "") is None


@pytest.mark.scenario("B-07")
def test_what_served_comes_first_then_the_proven_then_the_newest():
    known = (generation(1, "a", proven=True), generation(2, "b"), generation(3, "c"), generation(4, "d", proven=True))

    assert candidates(*known, served=Candidate("b", 2)) == [("b", 2), ("d", 4), ("a", 1), ("c", 3)]


def test_what_served_needs_no_generation():
    assert candidates(served=Candidate("a", None)) == [("a", None)]


def test_where_nothing_served_the_sources_latest_generation_comes_first():
    assert candidates(generation(1, "a"), generation(2, "b", proven=True), source="a") == [("a", 1), ("b", 2)]


def test_an_environment_is_offered_once_because_its_content_is_what_is_on_disk():
    assert candidates(OLD_A, B, NEW_A) == [("a", 3), ("b", 2)]


def test_what_has_failed_already_is_not_offered():
    assert candidates(OLD_A, B, served=Candidate("a", 1), source="a", spent={"a"}) == [("b", 2)]


def test_what_was_disproved_is_not_offered():
    assert candidates(generation(1, "a", proven=False, disproved="it crashed"), B, source="a") == [("b", 2)]


def test_there_may_be_nowhere_to_go():
    assert candidates() == []


def saved(number: int, environment: str) -> Generation:
    return attrs.evolve(generation(number, environment), evidence=Evidence.SAVED)


def test_of_each_kind_of_each_environment_the_newest_are_remembered():
    known = (
        saved(1, "a"),
        generation(2, "b", proven=True),
        *(generation(number, "b") for number in range(10, 40)),
        *(generation(number, "a", proven=True) for number in range(50, 80)),
    )
    kept = remembered(known, frozenset())

    assert [g.generation for g in kept] == [1, 2, *range(20, 40), *range(60, 80)]


def test_what_is_pinned_or_in_use_is_remembered():
    known = tuple(attrs.evolve(generation(number, "a"), pinned=number == 1) for number in range(1, 31))
    assert [g.generation for g in remembered(known, frozenset({2}))] == [1, 2, *range(11, 31)]
