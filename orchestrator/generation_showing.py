"""Generations as words and tables: the list, and the plan of a rollback. Pure; what others wrote is escaped here."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from journal.clock import Stamp, iso
from journal.events import Evidence
from orchestrator.environments.content import Changes, Entry
from orchestrator.showing import ago, plain, table
from projections.generations import Generation
from projections.inventory import Difference, change_text, compare, version_text

CHANGES_SHOWN: Final = 4
"""Changes named in one line of the list; the rest is counted."""
COLUMN_CHARS: Final = 48
"""Characters of a reason in the list."""
_MANIFESTS: Final = (".cec/pyproject.toml", "pyproject.toml")


@attrs.frozen
class Listed:
    """A generation, and what changed against the one before of its environment; None where one of them was not kept."""

    generation: Generation
    changed: tuple[Difference, ...] | None


@attrs.frozen
class Plan:
    """What a rollback would do now. Without `changes` the content was not kept: it would start what is on the disk."""

    environment: str
    generation: Generation
    changes: Changes | None = None
    inventory_then: tuple[str, ...] = ()
    inventory_now: tuple[str, ...] = ()
    manifest: str = ""
    problem: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """From now to then, files left out."""
        found = compare(self.inventory_now, self.inventory_then)
        return tuple(one for one in found if one.kind != "file")

    @property
    def tracked(self) -> frozenset[str]:
        """The custom nodes that a sync brings to their version: those in the manifest, but for a developer's own."""
        return tracked_nodes(self.manifest)


def manifest_of(entries: Mapping[str, Entry]) -> str:
    """The text of the manifest, "" without one."""
    found = next((entries[name].data for name in _MANIFESTS if name in entries), b"")
    return found.decode("utf-8", "replace")


def tracked_nodes(manifest: str) -> frozenset[str]:
    """The folder names of the custom nodes that comfygit-core installs by that manifest; none for one that is no TOML."""
    try:
        nodes = tomllib.loads(manifest).get("tool", {}).get("comfygit", {}).get("nodes", {})
        return frozenset(
            str(node.get("name", key)) for key, node in nodes.items() if node.get("source") in {"git", "registry"}
        )
    except (tomllib.TOMLDecodeError, AttributeError):
        return frozenset()


def listed(generations: Sequence[Generation], inventories: Mapping[int, tuple[str, ...]]) -> list[Listed]:
    """All of them, newest first, with what changed. `inventories` by generation."""
    before: dict[str, tuple[str, ...] | None] = {}
    found = []
    for generation in sorted(generations, key=lambda g: g.generation):
        now, then = inventories.get(generation.generation), before.get(generation.environment)
        found.append(Listed(generation, compare(then, now) if now is not None and then is not None else None))
        before[generation.environment] = now
    return found[::-1]


def facts(one: Listed) -> dict[str, Any]:
    """What `generations --json` prints of one."""
    g = one.generation
    return {
        "generation": g.generation,
        "environment": g.environment,
        "fingerprint": g.fingerprint,
        "evidence": g.evidence.value,
        "recorded": iso(g.recorded.wall_ns),
        "proven": g.proven,
        "disproved": g.disproved or None,
        "arguments": list(g.arguments),
        "kept": g.kept is not None,
        "commit": (g.kept.commit or None) if g.kept else None,
        "not_kept": g.not_kept or None,
        "pinned": g.pinned,
        "name": g.name or None,
        "changed": None if one.changed is None else [attrs.asdict(change) for change in one.changed],
    }


def generations_text(generations: Sequence[Listed], now: Stamp) -> str:
    """What `generations` prints: a line each."""
    if not generations:
        return "no environment has been seen healthy yet"
    head = (
        "generation",
        "environment",
        "recorded",
        "evidence",
        "standing",
        "content",
        "changed against the one before",
    )
    return table(head, [_row(one, now) for one in generations])


def _row(one: Listed, now: Stamp) -> tuple[str, ...]:
    g = one.generation
    number = f"{g.generation} {plain(g.name) or 'pinned'}" if g.pinned else str(g.generation)
    told = (_cut(standing(g)), _cut(_content(g)), _changed(one))
    return number, g.environment, ago(g.recorded, now), g.evidence.value, *told


def _cut(text: str) -> str:
    """A column is no place for a whole error: `--json` and the dry run have it."""
    return text if len(text) <= COLUMN_CHARS else f"{text[: COLUMN_CHARS - 3]}..."


def standing(generation: Generation) -> str:
    """What speaks for it or against it."""
    if generation.evidence is Evidence.SAVED:
        return "saved before a restore"
    if generation.disproved:
        return f"failed since: {plain(generation.disproved)}"
    return "proven" if generation.proven else "not yet proven"


def _content(generation: Generation) -> str:
    if generation.kept is not None:
        return "kept"
    return f"not kept: {plain(generation.not_kept)}" if generation.not_kept else "not kept"


def pinned_text(generation: Generation, name: str) -> str:
    """What `generations pin` says: also that there is no content to remember, where that is so."""
    called = f" as {name}" if name else ""
    text = f"generation {generation.generation} is pinned{called}: it is remembered until it is unpinned"
    return text if generation.kept is not None else f"{text}; its content is {_content(generation)}"


def _changed(one: Listed) -> str:
    if one.changed is None:
        return "-"
    said = [change_text(change) for change in sorted(one.changed, key=lambda change: change.kind != "file")]
    more = len(said) - CHANGES_SHOWN
    return (", ".join(said[:CHANGES_SHOWN]) + (f" and {more} more" if more > 0 else "")) or "nothing"


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What `rollback --dry-run --json` prints."""
    return {
        "environment": plan.environment,
        "generation": plan.generation.generation,
        "kept": plan.changes is not None,
        "problem": plan.problem or None,
        "write": list(plan.changes.written) if plan.changes else [],
        "remove": list(plan.changes.removed) if plan.changes else [],
        "install": [attrs.asdict(one) for one in plan.differences if _is_synced(one, plan)],
        "left_alone": [attrs.asdict(one) for one in plan.differences if not _is_synced(one, plan)],
    }


def _is_synced(change: Difference, plan: Plan) -> bool:
    return change.kind == "package" or (change.kind == "node" and change.name in plan.tracked)


def plan_text(plan: Plan, now: Stamp) -> str:
    """What `rollback --dry-run` prints: what would be written, installed, and left alone."""
    return "\n".join(_plan_lines(plan, now))


def _plan_lines(plan: Plan, now: Stamp) -> Iterator[str]:
    g = plan.generation
    seen = f"{standing(g)}, recorded {ago(g.recorded, now)}"
    yield f"would go back to environment {plan.environment}, generation {g.generation} ({seen})"
    if plan.problem:
        yield f"  but it cannot: {plain(plan.problem)}"
        return
    if plan.changes is None and g.kept is not None:
        yield "  would write nothing: it would be started as it is on the disk, where nothing of it has failed"
        return
    if plan.changes is None:
        why = f": {plain(g.not_kept)}" if g.not_kept else ""
        yield f"  its content was not kept{why}; it would be started as it is on the disk"
        return
    if not plan.changes.written and not plan.changes.removed:
        yield "  would write nothing: these files are on the disk already"
    yield from (f"  would write      {plain(name)}" for name in plan.changes.written)
    yield from (f"  would remove     {plain(name)}" for name in plan.changes.removed)
    yield from (f"  would {_install(one)}" for one in plan.differences if _is_synced(one, plan))
    yield from (f"  would leave      {_left(one)}" for one in plan.differences if not _is_synced(one, plan))
    if plan.changes.written or plan.changes.removed:
        yield "what is there now is saved first, as a generation of its own: rollback --to its number undoes it"


def _install(change: Difference) -> str:
    what = plain(f"{change.kind} {change.name}")
    if not change.after:
        return f"uninstall  {what} {version_text(change.before)}"
    now = f" (now {version_text(change.before)})" if change.before else ""
    return f"install    {what} {version_text(change.after)}{now}"


def _left(change: Difference) -> str:
    what = plain(f"{change.kind} {change.name}".strip())
    now, then = (version_text(version) if version else "not there" for version in (change.before, change.after))
    return f"{what} as it is, {now}; it was {then} then"
