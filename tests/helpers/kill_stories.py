"""Lives of a workspace in which an orchestrator can be killed at any event: what happens, and what must have come of it."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from journal.codec import own_actor
from journal.identity import Identity, is_alive
from orchestrator.asking import ask_switch, command_ask
from orchestrator.ledger import Ledger
from orchestrator.workspace import open_workspace
from projections.state import OutcomeState, WorkKind, WorkspaceState
from tests.helpers.bystanders import start_by_hand
from tests.helpers.held_stages import preparing
from tests.helpers.live_content import BREAKS, add_plain, kept, write_plain
from tests.helpers.live_workspace import LiveWorkspace

SOME_TIME = 1_700_000_000.0
"""What a file says of itself; how old it is, is read from its mtime."""
Reached = Callable[[LiveWorkspace, WorkspaceState], bool]


def ended(*outcomes: OutcomeState) -> Reached:
    """The newest switch has ended like that."""
    return lambda _live, state: bool(state.switches) and state.switches[-1].state in outcomes


def started(times: int) -> Reached:
    """`good` has been started that often."""
    return lambda live, _state: len(live.starts("good")) >= times


def always(_live: LiveWorkspace, _state: WorkspaceState) -> bool:
    """Nothing more is waited for."""
    return True


@attrs.frozen
class Story:
    """`act` is what happens once `good` serves (or before anything is started, with `begins`), `serves` who does at the end.

    `ends`: the orchestrator is gone at the end.
    """

    act: Callable[[LiveWorkspace], None]
    serves: str = "good"
    reached: Reached = always
    environments: Mapping[str, Mapping[str, Any] | None] = attrs.Factory(lambda: {"good": None, "other": None})
    settings: Mapping[str, Any] = attrs.Factory(dict)
    prepare: Callable[[LiveWorkspace], None] = lambda _live: None
    begins: bool = False
    ends: bool = False


def ask(target: str) -> Callable[[LiveWorkspace], None]:
    """A switch by command, not waited for."""

    def act(live: LiveWorkspace) -> None:
        with Ledger.open(open_workspace(live.root), own_actor("cli")) as ledger:
            assert ask_switch(ledger, command_ask(ledger.workspace, target)).refused is None

    return act


def in_stage(live: LiveWorkspace, stage: str) -> None:
    """The open switch has come that far."""
    live.until(lambda state: state.job is not None and state.job.stage == stage)


def commanded(**fields: Any) -> Callable[[LiveWorkspace], None]:
    """A `.cmd` file, as others write it."""
    return lambda live: live.command(timestamp=SOME_TIME, **fields)


def in_the_middle(act: Callable[[LiveWorkspace], None], stage: str = "validating") -> Callable[[LiveWorkspace], None]:
    """That, while a switch to `other` is in that stage."""

    def acts(live: LiveWorkspace) -> None:
        ask("other")(live)
        in_stage(live, stage)
        act(live)

    return acts


def leaving(code: int) -> Callable[[LiveWorkspace], None]:
    """What serves leaves by itself."""
    return lambda live: live.leave(code)


def by_page(live: LiveWorkspace) -> None:
    """A request as the public panel writes it, and its ComfyUI leaves with 43."""
    live.request("other", "good")
    live.leave(43)


def first_by_page(live: LiveWorkspace) -> None:
    """The very first switch: nobody supervises what asks."""
    source = start_by_hand(live, "good")
    live.request("other", "good")
    threading.Thread(target=source.wait, daemon=True).start()


def crash_in_probation(live: LiveWorkspace) -> None:
    ask("other")(live)
    live.until(lambda state: state.serving == "other" and state.job is None)
    live.leave(7)


def break_what_served(live: LiveWorkspace) -> None:
    live.order("good", {"die_at_start": 8})
    ask("other")(live)


def kill_orchestrator(live: LiveWorkspace) -> None:
    """By somebody else: what the next one does about that is the story."""
    alive = live.until(lambda state: state.orchestrator is not None and is_alive(state.orchestrator)).orchestrator
    assert alive is not None
    with contextlib.suppress(ProcessLookupError):  # it was to die anyhow
        os.kill(alive.pid, signal.SIGKILL)


def orphan(live: LiveWorkspace) -> None:
    """Its orchestrator is killed, then it leaves with 42."""
    dead = live.state().orchestrator
    kill_orchestrator(live)
    live.until(
        lambda state: (
            state.orchestrator not in {None, dead}
            and state.main_process is not None
            and state.main_process.owner == state.orchestrator
        )
    )
    live.leave(42)


def kill_guard(live: LiveWorkspace) -> None:
    guard = live.state().guard
    assert isinstance(guard, Identity)
    os.kill(guard.pid, signal.SIGKILL)


def lose_a_worker(live: LiveWorkspace) -> None:
    """The orchestrator dies while a preflight hangs; the next one is told to give the switch up."""
    ask("other")(live)
    live.until(_preflight_hangs)
    dead = live.state().orchestrator
    kill_orchestrator(live)
    live.until(lambda state: state.orchestrator not in {None, dead} and is_alive(state.orchestrator))
    live.command(command="abort_switch", timestamp=SOME_TIME)


def abort_preflight(live: LiveWorkspace) -> None:
    ask("other")(live)
    live.until(_preflight_hangs)
    live.command(command="abort_switch", timestamp=SOME_TIME)


def _preflight_hangs(state: WorkspaceState) -> bool:
    """And not the capture of what served before, which would soon be over by itself."""
    worker = state.worker
    return worker is not None and worker.kind is WorkKind.PREFLIGHT and worker.identity is not None


def without_python(live: LiveWorkspace) -> None:
    """Nothing can be executed any more when it is to be started again."""
    python = live.root / "environments/good/.venv/bin/python"
    python.rename(python.with_name("gone"))
    live.leave(42)


def hang_for_a_while(live: LiveWorkspace) -> None:
    live.ask("/stand_in/misbehave", {"mute": True})
    live.until(lambda state: state.main_process is not None and state.main_process.unresponsive is not None)
    live.ask("/stand_in/misbehave", {})


def break_content(live: LiveWorkspace) -> None:
    write_plain(live, "plain", BREAKS)
    live.leave(42)


def with_content(live: LiveWorkspace) -> None:
    add_plain(live, "plain")


def hold_preflight(live: LiveWorkspace) -> None:
    preparing(live, "other", "")


def old_lock(live: LiveWorkspace) -> None:
    lock = live.metadata / ".switch.lock"
    lock.touch()
    os.utime(lock, (touched := lock.stat().st_mtime - 400, touched))


def junk(live: LiveWorkspace) -> None:
    (live.metadata / ".switch_request.json").write_text('{"target_env": ')


def tamper(live: LiveWorkspace) -> None:
    Path(live.metadata / ".startup_state.json").unlink()


def two_requests(live: LiveWorkspace) -> None:
    """The second one is refused."""
    ask("other")(live)
    in_stage(live, "validating")
    live.request("good", "other")


_ROLLED_BACK = ended(OutcomeState.ROLLED_BACK)
_DYING = {"good": None, "other": {"die_at_start": 7}}
_SLOW = {"good": None, "other": {"start_delay_s": 60}}

STORIES: Mapping[str, Story] = {
    "start": Story(lambda _live: None, begins=True, environments={"good": None}),
    "a good target": Story(ask("other"), "other", ended(OutcomeState.COMPLETE)),
    "by page": Story(by_page, "other", ended(OutcomeState.COMPLETE)),
    "the first, by page": Story(
        first_by_page, "other", ended(OutcomeState.COMPLETE), begins=True, settings={"source_grace_s": 0.5}
    ),
    "it dies": Story(ask("other"), reached=_ROLLED_BACK, environments=_DYING),
    "it hangs": Story(
        ask("other"),
        reached=_ROLLED_BACK,
        environments={"good": None, "other": {"hang": True}},
        settings={"health_check_timeout_s": 1.5},
    ),
    "all are broken": Story(break_what_served, "", ended(OutcomeState.CRITICAL_FAILURE), environments=_DYING),
    "a crash in probation": Story(crash_in_probation, reached=_ROLLED_BACK),
    "it is proven": Story(
        ask("other"),
        "other",
        lambda _live, state: any(g.proven and g.environment == "other" for g in state.generations),
        settings={"probation_s": 0.3},
    ),
    "an abort": Story(in_the_middle(commanded(command="abort_switch")), reached=_ROLLED_BACK, environments=_SLOW),
    "an end in the middle": Story(
        in_the_middle(commanded(command="shutdown")), "", environments=_SLOW, ends=True, reached=always
    ),
    "an end": Story(commanded(command="shutdown"), "", ends=True),
    "a restart by file": Story(commanded(command="restart"), reached=started(2)),
    "a restart by 42": Story(leaving(42), reached=started(2)),
    "a crash": Story(
        leaving(7),
        reached=lambda live, state: started(2)(live, state) and not state.crashes,
        settings={"calm_after_s": 0.4},
    ),
    "no way to start": Story(without_python, "", settings={"crash_retry_max": 0}),
    "an orphan leaves": Story(orphan, reached=started(2)),
    "a killed one": Story(kill_orchestrator),
    "a killed guard": Story(kill_guard, reached=lambda _live, state: state.guard is not None and is_alive(state.guard)),
    "a lost worker": Story(lose_a_worker, reached=_ROLLED_BACK, prepare=hold_preflight),
    "an abort of a preflight": Story(abort_preflight, reached=_ROLLED_BACK, prepare=hold_preflight),
    "a survivor": Story(leaving(42), reached=started(2), environments={"good": {"fork_session": True}}),
    "it hangs for a while": Story(
        hang_for_a_while,
        reached=lambda _live, state: state.main_process is not None and state.main_process.unresponsive is None,
        settings={"liveness_interval_s": 0.1, "probe_timeout_s": 0.3},
    ),
    "content comes back": Story(
        break_content, "plain", _ROLLED_BACK, environments={}, prepare=with_content, settings={"crash_retry_max": 0}
    ),
    "a lock from long ago": Story(old_lock, reached=lambda live, _state: not (live.metadata / ".switch.lock").exists()),
    "half a request": Story(junk, reached=lambda live, _state: not (live.metadata / ".switch_request.json").exists()),
    "a view is deleted": Story(tamper, reached=lambda live, _state: (live.metadata / ".startup_state.json").exists()),
    "two requests": Story(
        two_requests, "other", ended(OutcomeState.COMPLETE), environments={"good": None, "other": {"start_delay_s": 2}}
    ),
    "the outcome is shown for a while": Story(
        ask("other"),
        reached=lambda _live, state: bool(state.switches) and state.outcome is None,
        environments=_DYING,
        settings={"status_linger_s": 0.3},
    ),
}


def is_kept(live: LiveWorkspace, environment: str) -> None:
    """Its content is kept: what a story about content begins with."""
    kept(live, environment)
