"""The `.metadata` files that panels and command lines read, as a pure function of the state.

`views(state)` gives for every view its exact bytes, or None where the file must not exist. The formats are the public
manager's, plus fields of ours at the end.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from journal.clock import S, Stamp
from projections.jobs import Job, JobKind
from projections.locking import Claim
from projections.posted import PostedStatus
from projections.state import REQUEST_FILE, Outcome, OutcomeState, WorkspaceState
from projections.switching import PROGRESS

REQUEST: Final = REQUEST_FILE
STATUS: Final = ".switch_status.json"
STARTUP: Final = ".startup_state.json"
PID: Final = ".orchestrator.pid"
LOCK: Final = ".switch.lock"
CONTROL_PORT: Final = ".control_port"
SUPERVISOR: Final = ".supervisor_control.json"

WHEN_TAKING: Final = (LOCK, REQUEST, STATUS, STARTUP, PID, CONTROL_PORT, SUPERVISOR)
"""The order of writing while a switch is open: nobody sees its request without its lock."""
WHEN_ENDING: Final = (REQUEST, LOCK, STATUS, STARTUP, PID, CONTROL_PORT, SUPERVISOR)
"""The order of writing otherwise: nobody sees an end while the request still lies there."""

_MESSAGES: Final[Mapping[str, str]] = {
    "preparing": "Checking environment {target}",
    "syncing": "Syncing environment {target}",
    "starting": "Starting environment {target}",
    "validating": "Waiting for environment {target} to answer",
    "rolling_back": "Going back: {error}",
    "recovering": "ComfyUI of {target} ended unexpectedly; starting it again (try {attempt})",
}


def views(state: WorkspaceState) -> dict[str, bytes | None]:
    """Every view by file name: its bytes, or None where there must be no such file."""
    return {
        REQUEST: _request(state),
        STATUS: _as_json(status_document(state)),
        STARTUP: _startup(state),
        PID: None if state.orchestrator is None else f"{state.orchestrator.pid}".encode(),
        LOCK: _lock(state),
        CONTROL_PORT: None if state.control is None else f"{state.control.port}".encode(),
        SUPERVISOR: _supervisor(state),
    }


def writing_order(state: WorkspaceState) -> tuple[str, ...]:
    """In which order the views of `state` are written."""
    return WHEN_ENDING if state.lock is None else WHEN_TAKING


def status_document(state: WorkspaceState) -> dict[str, Any] | None:
    """What `.switch_status.json` says and the control server answers; None when there is nothing to say (idle)."""
    if state.posted is not None:
        return _posted_status(state.posted)
    if state.job is not None and (state.job.is_switch or state.job.kind in {JobKind.RETRY, JobKind.BARE}):
        return _open_status(state.job)
    return None if state.outcome is None else _outcome_status(state.outcome)


def _posted_status(posted: PostedStatus) -> dict[str, Any]:
    """Its own fields last: none of them takes the place of ours."""
    ours = {
        "state": posted.state,
        "progress": posted.progress,
        "message": posted.message,
        "updated_at": _wall_s(posted.at),
    }
    return {**ours, "target_env": None, "source_env": None, **json.loads(posted.fields), **ours}


def _open_status(job: Job) -> dict[str, Any]:
    shown = job.public_state
    document: dict[str, Any] = {
        "state": shown,
        "progress": job.progress,
        "message": _MESSAGES[shown].format(target=job.environment, error=job.error, attempt=job.attempt),
        "updated_at": _wall_s(job.stage_at),
        "target_env": job.environment,
        "source_env": job.source or None,
    }
    if job.error:
        document["error"] = job.error
    return document | {"switch_id": job.job} if job.is_switch else document


def _outcome_status(outcome: Outcome) -> dict[str, Any]:
    serving = f"Environment {outcome.serving} serves; " if outcome.serving else ""
    messages = {
        OutcomeState.COMPLETE: f"Environment {outcome.target} serves",
        OutcomeState.ROLLED_BACK: f"{serving}{outcome.target} was not reached",
        OutcomeState.CRITICAL_FAILURE: "No environment serves",
        OutcomeState.ABORTED: "Switch ended for a ComfyUI that was started by hand",
    }
    document: dict[str, Any] = {
        "state": outcome.state.value,
        "progress": PROGRESS[outcome.state.value],
        "message": messages[outcome.state],
        "updated_at": _wall_s(outcome.at),
        "target_env": outcome.target,
        "source_env": outcome.source or None,
    }
    if outcome.error:
        document["error"] = outcome.error
    if outcome.recovery_command:
        document["recovery_command"] = outcome.recovery_command
    return document | {"switch_id": outcome.switch}


def _request(state: WorkspaceState) -> bytes | None:
    job = state.job
    if job is None or not job.is_switch:
        return None
    return _as_json(
        {
            "target_env": job.environment,
            "source_env": job.source or None,
            "timestamp": _wall_s(job.requested),
            "switch_id": job.job,
        }
    )


def _lock(state: WorkspaceState) -> bytes | None:
    if state.lock is None:
        return None if state.claim is None else _claim(state.claim)
    return _as_json(
        {
            "switch_id": state.lock.switch,
            "target_env": None if state.job is None else state.job.environment,
            "holder_pid": None if state.lock.holder is None else state.lock.holder.pid,
            "acquired_at": _wall_s(state.lock.acquired),
        }
    )


def _claim(claim: Claim) -> bytes | None:
    return _as_json(
        {
            "switch_id": None,
            "claim_id": claim.claim,
            "target_env": None,
            "holder_pid": claim.holder.pid,
            "acquired_at": _wall_s(claim.acquired),
        }
    )


def _startup(state: WorkspaceState) -> bytes | None:
    startup = state.startup
    if startup is None or state.startup_at is None:
        return None
    return _as_json(
        {
            "python_executable": startup.python_executable,
            "working_directory": startup.working_directory,
            "argv": list(startup.argv),
            "environment_name": startup.environment,
            "workspace_root": startup.workspace_root,
            "port": startup.port,
            "timestamp": _wall_s(state.startup_at),
        }
    )


def _supervisor(state: WorkspaceState) -> bytes | None:
    if state.control is None:
        return None
    document = {"host": state.control.host, "port": state.control.port, "kind": "manager_orchestrator"}
    published = state.control.public_origin
    return _as_json(document | ({"public_origin": published} if published else {}))


def _wall_s(stamp: Stamp) -> float:
    return stamp.wall_ns / S


def _as_json(document: Mapping[str, Any] | None) -> bytes | None:
    """As UTF-8; what is no Unicode text (a lone surrogate, from a file name) stays a JSON escape."""
    if document is None:
        return None
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
