"""Generations and the plan of a rollback as people read them."""

import attrs
import pytest

from journal.clock import S, Stamp
from journal.events import Evidence
from orchestrator.environments.content import Changes, Entry
from orchestrator.generation_showing import (
    Plan,
    facts,
    generations_text,
    listed,
    manifest_of,
    pinned_text,
    plan_facts,
    plan_text,
    tracked_nodes,
)
from projections.generations import Generation, Kept

NOW = Stamp(10_000 * S, 10_000 * S, "boot")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "fedcba9876fedcba9876fedcba9876fedcba9876"
MANIFEST = """
[tool.comfygit.nodes.sampler]
name = "comfy-sampler"
source = "git"
[tool.comfygit.nodes.mine]
name = "mine"
source = "development"
"""


def ago(seconds: float) -> Stamp:
    return attrs.evolve(
        NOW, wall_ns=NOW.wall_ns - round(seconds * S), monotonic_ns=NOW.monotonic_ns - round(seconds * S)
    )


FIRST = Generation(3, "stable", "f-1", Evidence.PROBED, ago(7_200), (), proven=True, kept=Kept(5, COMMIT))
OTHER = Generation(9, "nightly", "e-1", Evidence.REQUESTER, ago(60), (), disproved="it crashed")
SECOND = attrs.evolve(FIRST, generation=11, proven=False, fingerprint="g-1", kept=Kept(12, COMMIT))
THEN = (
    "package\tidna\t3.6",
    "package\tgone\t1.0",
    f"node\tcomfy-sampler\t{COMMIT}",
    "file\t.cec/uv.lock\taaa",
    "node\tmine\t?",
)
LATER = (
    "package\tidna\t3.7",
    "package\tfresh\t2.0",
    f"node\tcomfy-sampler\t{OTHER_COMMIT}",
    "file\t.cec/uv.lock\tbbb",
    f"node\tmine\t{COMMIT}",
)


def table(*generations: Generation, **inventories: tuple[str, ...]) -> list[list[str]]:
    known = {int(name[1:]): lines for name, lines in inventories.items()}
    return [line.split(maxsplit=99) for line in generations_text(listed(generations, known), NOW).splitlines()]


def test_generations_are_listed_newest_first_with_their_standing():
    lines = generations_text(listed((FIRST, OTHER, SECOND), {}), NOW).splitlines()
    assert lines[0].split()[:6] == ["generation", "environment", "recorded", "evidence", "standing", "content"]
    assert [line.split()[0] for line in lines[1:]] == ["11", "9", "3"]
    assert "requester  failed since: it crashed" in lines[2]
    assert "not yet proven" in lines[1]


def test_what_changed_is_told_against_the_one_before_of_the_same_environment():
    text = generations_text(listed((FIRST, OTHER, SECOND), {3: THEN, 11: LATER}), NOW)
    newest = text.splitlines()[1]
    assert newest.endswith(
        "uv.lock, node comfy-sampler 0123456789 -> fedcba9876, node mine ? -> 0123456789, package fresh 2.0 added and 2 more"
    )
    assert text.splitlines()[3].endswith("-")


def test_the_same_content_again_changed_nothing():
    assert table(FIRST, SECOND, _3=THEN, _11=THEN)[1][-1] == "nothing"


def test_a_pinned_one_is_listed_by_its_name():
    lines = generations_text(
        listed((attrs.evolve(FIRST, pinned=True, name="good"), attrs.evolve(SECOND, pinned=True)), {}), NOW
    )
    assert "11 pinned" in lines
    assert "3 good" in lines


def test_a_saved_one_is_no_healthy_one():
    assert "saved before a restore" in generations_text(
        listed((attrs.evolve(FIRST, evidence=Evidence.SAVED),), {}), NOW
    )


def test_what_was_not_kept_says_why():
    text = generations_text(listed((attrs.evolve(OTHER, not_kept="git says\x1b[31m no"),), {}), NOW)
    assert "not kept: git says [31m no" in text


def test_a_long_reason_is_cut_in_the_list_and_whole_for_scripts():
    long = attrs.evolve(OTHER, disproved="it crashed " * 20, not_kept="git says no " * 20)
    lines = generations_text(listed((long,), {}), NOW).splitlines()
    assert (
        "failed since: it crashed it crashed it crashe...  not kept: git says no git says no git says no...  -"
        in lines[1]
    )
    told = facts(listed((long,), {})[0])
    assert (told["disproved"], told["not_kept"]) == ("it crashed " * 20, "git says no " * 20)


def test_a_pin_says_where_there_is_no_content_to_remember():
    assert "content" not in pinned_text(FIRST, "good")
    assert pinned_text(attrs.evolve(OTHER, not_kept="git says no"), "").endswith(
        "; its content is not kept: git says no"
    )


def test_no_generations_is_said_in_words():
    assert "no environment has been seen healthy" in generations_text([], NOW)


def test_for_scripts_there_is_everything():
    told = facts(listed((FIRST, SECOND), {3: THEN, 11: LATER})[0])
    assert (told["generation"], told["kept"], told["commit"], told["pinned"]) == (11, True, COMMIT, False)
    assert {"kind": "package", "name": "idna", "before": "3.6", "after": "3.7"} in told["changed"]


PLAN = Plan(
    "stable",
    FIRST,
    Changes(written=(".cec/pyproject.toml", ".cec/uv.lock"), removed=(".cec/overlays/new.toml",)),
    inventory_then=THEN,
    inventory_now=LATER,
    manifest=MANIFEST,
)


def test_a_plan_says_what_would_be_written_installed_and_left():
    assert plan_text(PLAN, NOW).splitlines() == [
        "would go back to environment stable, generation 3 (proven, recorded 2.0 h ago)",
        "  would write      .cec/pyproject.toml",
        "  would write      .cec/uv.lock",
        "  would remove     .cec/overlays/new.toml",
        "  would install    node comfy-sampler 0123456789 (now fedcba9876)",
        "  would uninstall  package fresh 2.0",
        "  would install    package gone 1.0",
        "  would install    package idna 3.6 (now 3.7)",
        "  would leave      node mine as it is, 0123456789; it was ? then",
        "what is there now is saved first, as a generation of its own: rollback --to its number undoes it",
    ]


def test_a_plan_for_scripts_has_the_same():
    told = plan_facts(PLAN)
    assert told["write"] == [".cec/pyproject.toml", ".cec/uv.lock"]
    assert [one["name"] for one in told["install"]] == ["comfy-sampler", "fresh", "gone", "idna"]
    assert [one["name"] for one in told["left_alone"]] == ["mine"]


def test_content_that_is_there_already_is_not_written():
    text = plan_text(attrs.evolve(PLAN, changes=Changes((), ()), inventory_now=THEN), NOW)
    assert text.splitlines()[1:] == ["  would write nothing: these files are on the disk already"]


def test_content_that_was_not_kept_cannot_come_back():
    text = plan_text(Plan("stable", attrs.evolve(FIRST, kept=None, not_kept="it holds a secret")), NOW)
    assert "its content was not kept: it holds a secret; it would be started as it is on the disk" in text


@pytest.mark.parametrize(
    "manifest", ["", "no toml [", "tool = 7", "[tool.comfygit]\nnodes = 3", "[tool.comfygit.nodes]\nx = 1"]
)
def test_a_manifest_of_any_shape_has_tracked_nodes_or_none(manifest):
    assert tracked_nodes(manifest) == frozenset()


def test_the_manifest_is_that_of_the_manifest_repository_if_there_is_one():
    entries = {"pyproject.toml": Entry("100644", b"outer"), ".cec/pyproject.toml": Entry("100644", b"inner")}
    assert manifest_of(entries) == "inner"
