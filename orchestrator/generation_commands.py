"""What the commands about generations do: list them, pin them, go back to one. Each returns the exit status."""

import re
from collections.abc import Iterator
from pathlib import Path

from journal import clock
from journal.codec import Draft
from journal.errors import JournalMissing
from journal.events import GenerationPinned, GenerationUnpinned
from journal.store import Journal
from orchestrator import generation_showing
from orchestrator.asking import command_ask, open_ledger
from orchestrator.commands import ask_and_follow
from orchestrator.environments.content import changes
from orchestrator.environments.content_work import kept_entries
from orchestrator.environments.inventory import inventory
from orchestrator.errors import OrchestratorError
from orchestrator.generation_showing import Plan
from orchestrator.ledger import captured_in
from orchestrator.options import print_result
from orchestrator.workspace import Workspace, open_workspace
from projections.evolve import fold
from projections.generations import KEPT, Generation, find, named
from projections.rollback import ways_back
from projections.state import WorkspaceState

_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_MOST_DIGITS = 19


class NoSuchGeneration(OrchestratorError):  # noqa: N818 -- says what is the matter
    """There is no generation by that number or name."""


def generations(workspace: Path | None, *, as_json: bool) -> int:
    """List the generations, newest first, with what changed from one of an environment to the next."""
    opened = open_workspace(workspace)
    try:
        with Journal.open_readonly(opened.journal_path) as journal:
            state = fold(journal.read())
            inventories = dict(_inventories(journal, state))
    except JournalMissing:
        state, inventories = WorkspaceState(), {}
    listed = generation_showing.listed(state.generations, inventories)
    text = generation_showing.generations_text(listed, clock.read())
    print_result(text, [generation_showing.facts(one) for one in listed], as_json=as_json)
    return 0


def _inventories(journal: Journal, state: WorkspaceState) -> Iterator[tuple[int, tuple[str, ...]]]:
    for generation in state.generations:
        captured = captured_in(journal, generation)
        if captured is not None:
            yield generation.generation, captured.inventory


def pin(workspace: Path | None, generation: str, name: str, *, as_json: bool) -> int:
    """Remember a generation for good, under a name if one is given; one that has a name keeps it."""
    if name and not _NAME.fullmatch(name):
        message = f"{name!r:.60} cannot be the name of a generation"
        raise OrchestratorError(message, "letters, digits, dots, dashes and underscores; at most 40; not only digits")
    with open_ledger(_used(workspace), "cli") as ledger:
        found = _meant(ledger.state, generation)
        name = name or found.name
        ledger.ask(lambda state: (_pinned(state, found, name),))
        facts = {"generation": found.generation, "pinned": True, "name": name or None}
        print_result(generation_showing.pinned_text(found, name), facts, as_json=as_json)
    return 0


def _pinned(state: WorkspaceState, generation: Generation, name: str) -> Draft:
    """Raises OrchestratorError for a name that is taken."""
    holder = named(state.generations, name)
    if holder is not None and holder.generation != generation.generation:
        message = f"generation {holder.generation} is called {name!r} already"
        raise OrchestratorError(message, f"unpin it first: comfygit-orchestrator generations unpin {name}")
    return Draft(GenerationPinned(generation=generation.generation, name=name))


def unpin(workspace: Path | None, generation: str, *, as_json: bool) -> int:
    """Remember a generation no longer than any other."""
    with open_ledger(_used(workspace), "cli") as ledger:
        found = _meant(ledger.state, generation)
        ledger.ask(lambda _: (Draft(GenerationUnpinned(generation=found.generation)),))
        facts = {"generation": found.generation, "pinned": False, "name": None}
        text = f"generation {found.generation} is not pinned: it is forgotten once {KEPT} newer ones are remembered"
        print_result(text, facts, as_json=as_json)
    return 0


def _used(workspace: Path | None) -> Workspace:
    """The workspace, if it has a journal. Raises NoSuchGeneration, WorkspaceError."""
    opened = open_workspace(workspace)
    if not opened.journal_path.exists():
        message = f"there is no healthy generation in {opened.root}: no environment of it has been started yet"
        raise NoSuchGeneration(message, "start one: comfygit-orchestrator spawn --environment NAME")
    return opened


def _meant(state: WorkspaceState, given: str) -> Generation:
    """The generation of that number or name. Raises NoSuchGeneration."""
    is_number = given.isdecimal() and len(given) <= _MOST_DIGITS
    found = find(state.generations, int(given)) if is_number else named(state.generations, given)
    if found is None:
        message = f"there is no generation {given!r:.60}, or it is not remembered any more"
        raise NoSuchGeneration(message, "list them with: comfygit-orchestrator generations")
    return found


def rollback(
    workspace: Path | None, generation: str | None, *, dry_run: bool, timeout_s: float | None, as_json: bool
) -> int:
    """Go back to `generation`, or to the best one that is not what serves."""
    opened = _used(workspace)
    if dry_run:
        return _dry_run(opened, generation, as_json=as_json)
    with open_ledger(opened, "cli") as ledger:
        target, restores = _target(opened, ledger.state, generation)
        if generation is not None and not restores:
            raise _not_kept(target)
        ask = command_ask(opened, target.environment, target.generation, restores=restores)
        return ask_and_follow(ledger, ask, wait=True, timeout_s=timeout_s, as_json=as_json)


def _not_kept(generation: Generation) -> OrchestratorError:
    why = f": {generation.not_kept}" if generation.not_kept else ""
    message = f"going back to generation {generation.generation}: its content was not kept{why}"
    hint = f"to start it as it is on the disk: comfygit-orchestrator switch {generation.environment}"
    return OrchestratorError(message, hint)


def _dry_run(opened: Workspace, generation: str | None, *, as_json: bool) -> int:
    """Reads only."""
    with Journal.open_readonly(opened.journal_path) as journal:
        plan = _plan(opened, journal, *_target(opened, fold(journal.read()), generation))
    print_result(generation_showing.plan_text(plan, clock.read()), generation_showing.plan_facts(plan), as_json=as_json)
    return 1 if plan.problem else 0


def _target(opened: Workspace, state: WorkspaceState, given: str | None) -> tuple[Generation, bool]:
    """The generation that is meant, or the best way back to an environment that is there; whether its content comes back.

    Raises NoSuchGeneration.
    """
    if given is not None:
        meant = _meant(state, given)
        return meant, meant.kept is not None
    for way in ways_back(state, asked=True):
        found = find(state.generations, way.generation)
        if found is not None and not opened.environment_problem(way.environment):
            return found, way.restores
    message = "there is no healthy generation to go back to"
    raise NoSuchGeneration(message, "list them with: comfygit-orchestrator generations")


def _plan(workspace: Workspace, journal: Journal, generation: Generation, restores: bool) -> Plan:  # noqa: FBT001
    """What going back there would do, by looking at the disk as it is. Raises OrchestratorError."""
    captured = captured_in(journal, generation)
    problem = workspace.environment_problem(generation.environment)
    if captured is None or problem or not restores:
        return Plan(generation.environment, generation, problem=problem)
    paths = workspace.environment(generation.environment)
    wanted = kept_entries(paths, captured)
    return Plan(
        environment=generation.environment,
        generation=generation,
        changes=changes(paths, wanted),
        inventory_then=captured.inventory,
        inventory_now=inventory(paths),
        manifest=generation_showing.manifest_of(wanted),
    )
