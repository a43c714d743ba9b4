"""What the commands about generations do: list them, pin them, go back to one. Each returns the exit status."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from journal import clock
from journal.codec import Draft
from journal.errors import JournalMissing
from journal.events import GenerationPinned, GenerationUnpinned
from journal.store import Journal
from orchestrator import generation_showing
from orchestrator.asking import command_ask, open_ledger
from orchestrator.commands import ask_and_follow, print_result
from orchestrator.environments.content import changes
from orchestrator.environments.content_work import kept_entries
from orchestrator.environments.inventory import inventory
from orchestrator.errors import OrchestratorError
from orchestrator.generation_showing import Plan
from orchestrator.ledger import captured_in
from orchestrator.workspace import Workspace, open_workspace
from projections.evolve import fold
from projections.generations import Candidate, Generation, find, named
from projections.rollback import ways_back
from projections.state import WorkspaceState

_MOST_DIGITS = 18
_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


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
    """Keep a generation, under a name if one is given."""
    if name and not _NAME.fullmatch(name):
        message = f"{name!r:.60} cannot be the name of a generation"
        raise OrchestratorError(message, "letters, digits, dots, dashes and underscores; at most 40; not only digits")
    with open_ledger(open_workspace(workspace), "cli") as ledger:
        found = _meant(ledger.state, generation)
        name = name or found.name

        def answer(state: WorkspaceState) -> tuple[Draft, ...]:
            holder = named(state.generations, name)
            if holder is not None and holder.generation != found.generation:
                message = f"generation {holder.generation} is called {name!r} already"
                raise OrchestratorError(message, f"unpin it first: comfygit-orchestrator generations unpin {name}")
            return (Draft(GenerationPinned(generation=found.generation, name=name)),)

        ledger.ask(answer)
        called = f" as {name}" if name else ""
        facts = {"generation": found.generation, "pinned": True, "name": name or None}
        print_result(f"generation {found.generation} is kept{called}", facts, as_json=as_json)
    return 0


def unpin(workspace: Path | None, generation: str, *, as_json: bool) -> int:
    """Keep a generation no longer than any other."""
    with open_ledger(open_workspace(workspace), "cli") as ledger:
        found = _meant(ledger.state, generation)
        ledger.ask(lambda _: (Draft(GenerationUnpinned(generation=found.generation)),))
        facts = {"generation": found.generation, "pinned": False, "name": None}
        print_result(f"generation {found.generation} is kept as long as any other", facts, as_json=as_json)
    return 0


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
    with open_ledger(open_workspace(workspace), "cli") as ledger:
        state = ledger.state
        candidate = _best(state) if generation is None else _as_candidate(_meant(state, generation))
        if candidate is None:
            click.echo("error: there is no healthy generation to go back to", err=True)
            click.echo("hint: list them with: comfygit-orchestrator generations", err=True)
            return 1
        if generation is not None and not candidate.restores and not dry_run:
            raise _not_kept(_meant(state, generation))
        if dry_run:
            plan = _plan(ledger.workspace, ledger.journal, find(state.generations, candidate.generation), candidate)
            text = generation_showing.plan_text(plan, clock.read())
            print_result(text, generation_showing.plan_facts(plan), as_json=as_json)
            return 0
        ask = command_ask(ledger.workspace, candidate.environment, candidate.generation, restores=candidate.restores)
        return ask_and_follow(ledger, ask, wait=True, timeout_s=timeout_s, as_json=as_json)


def _not_kept(generation: Generation) -> OrchestratorError:
    why = f": {generation.not_kept}" if generation.not_kept else ""
    message = f"going back to generation {generation.generation}: its content was not kept{why}"
    hint = f"to start it as it is on the disk: comfygit-orchestrator switch {generation.environment}"
    return OrchestratorError(message, hint)


def _best(state: WorkspaceState) -> Candidate | None:
    return next(iter(ways_back(state, asked=True)), None)


def _as_candidate(generation: Generation) -> Candidate:
    return Candidate(generation.environment, generation.generation, restores=generation.kept is not None)


def _plan(workspace: Workspace, journal: Journal, generation: Generation | None, candidate: Candidate) -> Plan:
    """What going back there would do, by looking at the disk as it is. Raises OrchestratorError."""
    captured = None if generation is None else captured_in(journal, generation)
    problem = workspace.environment_problem(candidate.environment)
    if generation is None or captured is None or problem or not candidate.restores:
        return Plan(candidate.environment, generation, problem=problem, restores=candidate.restores)
    paths = workspace.environment(candidate.environment)
    wanted = kept_entries(paths, captured)
    return Plan(
        environment=candidate.environment,
        generation=generation,
        changes=changes(paths, wanted),
        inventory_then=captured.inventory,
        inventory_now=inventory(paths),
        manifest=generation_showing.manifest_of(wanted),
    )
