"""What each command of `comfygit-orchestrator` does, after its arguments have been read: results to stdout, progress to stderr.

Each returns the exit status: 0 done, 1 failed.
"""

import sys
from pathlib import Path

import click

from journal import clock
from journal.clock import Stamp, elapsed_ns, is_over, seconds
from journal.events import RefusalReason, RestoreStarted
from journal.identity import Identity
from orchestrator import showing
from orchestrator.asking import ask_abort, ask_restart, ask_shutdown, ask_switch, command_ask, open_ledger, watch
from orchestrator.launching import spawn_orchestrator
from orchestrator.ledger import Ledger
from orchestrator.options import print_result
from orchestrator.reading import living_guard, living_orchestrator
from orchestrator.waiting import ProgressLine
from orchestrator.workspace import Workspace, WorkspaceError, open_workspace
from orchestrator.world import SwitchAsk
from projections.state import Outcome, OutcomeState, WorkspaceState

DEAD_AFTER_S = 5.0
"""How long whoever waits for a switch goes on waiting while no orchestrator lives; a guard brings one back sooner."""
STOP_WITHIN_S = 60.0
"""How long `stop` waits: ComfyUI has `stop_timeout_s` and 5 s more on the longest ladder, a sync somewhat longer."""


def _ledger(workspace: Path | None) -> Ledger:
    return open_ledger(open_workspace(workspace), "cli")


def spawn(workspace: Path | None, environment: str, arguments: tuple[str, ...] | None, *, as_json: bool) -> int:
    """Start an orchestrator in the background; one that is there already is fine."""
    with _ledger(workspace) as ledger:
        alive = living_orchestrator(ledger.state)
        if alive is not None:
            text = f"already running: orchestrator pid {alive.pid}, {showing.control_url(ledger.state) or 'no control server'}"
            print_result(text, {"started": False, "pid": alive.pid}, as_json=as_json)
            return 0
        _refuse_unknown(ledger.workspace, environment)
        started = spawn_orchestrator(ledger, environment, arguments)
        log = ledger.workspace.metadata / "orchestrator.log"
        print_result(
            f"orchestrator started, pid {started.pid}; its log: {log}",
            {"started": True, "pid": started.pid},
            as_json=as_json,
        )
    return 0


def _refuse_unknown(workspace: Workspace, environment: str) -> None:
    problem = workspace.environment_problem(environment) if environment else ""
    if problem:
        raise WorkspaceError(problem, f"there are: {', '.join(workspace.environment_names()) or 'none yet'}")


def _see_to_it(ledger: Ledger) -> None:
    """With no orchestrator alive, start one, or wait for the one that a guard starts: what was asked for is in the journal."""
    if living_orchestrator(ledger.state) is None:
        guard, started = living_guard(ledger.state), spawn_orchestrator(ledger)
        is_its = guard is not None and ledger.state.guard == guard
        how = "its guard has started the next one" if is_its else "started one"
        click.echo(f"no orchestrator was running; {how}, pid {started.pid}", err=True)


def switch(workspace: Path | None, target: str, *, wait: bool, timeout_s: float | None, as_json: bool) -> int:
    """Ask for a switch to `target`; with `wait`, stay until it has ended."""
    with _ledger(workspace) as ledger:
        ask = command_ask(ledger.workspace, target)
        return ask_and_follow(ledger, ask, wait=wait, timeout_s=timeout_s, as_json=as_json)


def ask_and_follow(ledger: Ledger, ask: SwitchAsk, *, wait: bool, timeout_s: float | None, as_json: bool) -> int:
    """Ask for a switch, and stay until it has ended if `wait`."""
    asked = clock.read()
    answer = ask_switch(ledger, ask)
    if answer.refused is not None:
        refused = answer.refused
        already = refused.why is RefusalReason.ALREADY_SERVING
        facts = {"switch": None, "outcome": refused.why.value, "error": None if already else refused.message}
        if already or refused.why is RefusalReason.SWITCH_OPEN:
            _see_to_it(ledger)  # an open switch that nobody works on is in everybody's way
        if already or as_json:
            print_result(refused.message, facts, as_json=as_json)
        else:
            click.echo(f"error: not switching: {showing.plain(refused.message)}", err=True)
        return 0 if already else 1
    _see_to_it(ledger)
    if not wait:
        text = f"switch {answer.switch} to {ask.target} requested; watch it with: comfygit-orchestrator status --watch"
        print_result(text, {"switch": answer.switch, "outcome": None}, as_json=as_json)
        return 0
    return _follow(ledger, answer.switch or 0, asked, timeout_s, as_json=as_json)


def _follow(ledger: Ledger, switch: int, asked: Stamp, timeout_s: float | None, *, as_json: bool) -> int:
    with ProgressLine(sys.stderr) as progress:
        last_alive = asked
        for state in watch(ledger, asked, timeout_s):
            ended = _ended(state, switch)
            if ended is not None:
                break
            now = clock.read()
            last_alive = last_alive if living_orchestrator(state) is None else now
            if is_over(last_alive, seconds(DEAD_AFTER_S), now):
                return _left_alone(switch)
            progress.show(state, now)
        else:
            click.echo(f"switch {switch} has not ended after {timeout_s:g} s; it goes on without us", err=True)
            return 1
    saved = _overwritten(ledger, switch)
    facts = {
        "switch": switch,
        "outcome": ended.state.value,
        "serving": ended.serving or None,
        "error": ended.error or None,
        "recovery_command": ended.recovery_command or None,
        "saved": saved,
    }
    print_result(showing.outcome_text(ended, elapsed_ns(asked, ended.at), saved), facts, as_json=as_json)
    return 0 if ended.state is OutcomeState.COMPLETE else 1


def _overwritten(ledger: Ledger, switch: int) -> int | None:
    """The generation that holds what a switch has overwritten; None when it did not, or has brought that back itself."""
    of_it = (recorded.event for recorded in ledger.journal.read(switch) if recorded.switch == switch)
    restores = [event for event in of_it if isinstance(event, RestoreStarted)]
    in_first = [event for event in restores if event.environment == restores[0].environment]
    return in_first[0].saved if in_first and in_first[-1].generation != in_first[0].saved else None


def _left_alone(switch: int) -> int:
    click.echo(f"error: switch {switch} is open, and the orchestrator has been gone for {DEAD_AFTER_S:g} s", err=True)
    click.echo("hint: start one, it takes the switch up: comfygit-orchestrator spawn", err=True)
    return 1


def _ended(state: WorkspaceState, switch: int) -> Outcome | None:
    return next((outcome for outcome in state.switches if outcome.switch == switch), None)


def restart(workspace: Path | None, *, as_json: bool) -> int:
    """Ask for a restart."""
    with _ledger(workspace) as ledger:
        seq = ask_restart(ledger)
        _see_to_it(ledger)
        text = f"restart of {ledger.state.environment or 'the environment'} requested"
        print_result(text, {"requested": seq}, as_json=as_json)
    return 0


def stop(workspace: Path | None, *, as_json: bool) -> int:
    """Ask for the end, and wait for it. Where a guard is about to start a dead orchestrator again, for the end of that one."""
    with _ledger(workspace) as ledger:
        alive, asked = living_orchestrator(ledger.state), clock.read()
        if ask_shutdown(ledger) is None:
            print_result("no orchestrator is running", {"stopped": False}, as_json=as_json)
            return 0
        _say_who_stops(ledger.state)
        for state in watch(ledger, asked, STOP_WITHIN_S):
            alive = living_orchestrator(state) or alive
            if not (living_orchestrator(state) or living_guard(state)):
                return _stopped(alive, as_json=as_json)
        who = "the next orchestrator" if alive is None else f"orchestrator pid {alive.pid}"
        click.echo(f"error: {who} has not ended after {STOP_WITHIN_S:g} s", err=True)
        click.echo(f"hint: look at {ledger.workspace.metadata / 'orchestrator.log'}", err=True)
    return 1


def _say_who_stops(state: WorkspaceState) -> None:
    guard = living_guard(state)
    if living_orchestrator(state) is None and guard is not None:
        what = "the orchestrator has died; the next one, which its guard"
        click.echo(f"{what}, pid {guard.pid}, starts within 10 s, will stop", err=True)


def _stopped(orchestrator: Identity | None, *, as_json: bool) -> int:
    text = "stopped" if orchestrator is None else f"stopped: orchestrator pid {orchestrator.pid}"
    print_result(text, {"stopped": True, "pid": None if orchestrator is None else orchestrator.pid}, as_json=as_json)
    return 0


def abort(workspace: Path | None, *, as_json: bool) -> int:
    """Ask for the end of the open switch."""
    with _ledger(workspace) as ledger:
        job = ledger.state.job
        if job is None or not job.is_switch:
            print_result("no switch is under way", {"aborted": None}, as_json=as_json)
            return 0
        ask_abort(ledger)
        _see_to_it(ledger)
        print_result(f"abort of switch {job.job} to {job.environment} requested", {"aborted": job.job}, as_json=as_json)
    return 0
