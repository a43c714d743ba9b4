"""Request, status, startup state and command: the JSON documents of `.metadata`."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from journal import clock
from journal.codec import Draft
from journal.events import LockReleased, Origin, RefusalReason, StartupCaptured, StatusCleared, StatusSet
from journal.identity import own_identity
from journal.masking import mask
from orchestrator.asking import ask_switch
from orchestrator.compat.opening import ledger_of, read_document, workspace_of
from orchestrator.config import Config
from orchestrator.deciding.settling import rejected
from orchestrator.endpoint import endpoint_of
from orchestrator.errors import OrchestratorError
from orchestrator.inbox import COMMAND, Inbox, parse_command
from orchestrator.ledger import Ledger
from orchestrator.observing import touched_at
from orchestrator.panel.finding import environment_here
from orchestrator.reading import living_orchestrator
from orchestrator.workspace import Workspace, WorkspaceError, name_problem, read_config
from orchestrator.world import AskKind, SwitchAsk
from projections.publisher import read_bytes
from projections.views import REQUEST, STARTUP, STATUS

MOST_CHARS: Final = 64 * 1024
"""Of a status that somebody sets. Readers of views read up to 1 MiB; pages poll it once a second."""
_LAST_PORT: Final = 65_535


class SwitchNotGranted(OrchestratorError):  # noqa: N818 - the fact
    """A switch was asked for and refused: the message names who or what stands in the way."""


def write_switch_request(metadata_dir: Path, target_env: str, source_env: str | None = None) -> None:
    """Ask for a switch in the name of this process: a claim of its own (`acquire_switch_lock`) ends in it.

    Raises WorkspaceError for what can be no name, SwitchNotGranted. Whether the target is there, the switch finds out.
    A target that serves already is no error: then there is no request, and the status says `complete`.
    """
    _refuse_no_name(target_env)
    if source_env:
        _refuse_no_name(source_env)
    ask = SwitchAsk(target=target_env, origin=Origin.FUNCTION, source=source_env or "", requester=own_identity())
    with ledger_of(metadata_dir) as ledger:
        refused = ask_switch(ledger, ask).refused
        if refused is not None:
            _give_up_own_claim(ledger)
    if refused is not None and refused.why is not RefusalReason.ALREADY_SERVING:
        message = f"asking for a switch to {target_env!r}: {refused.message}"
        raise SwitchNotGranted(message, "look with: comfygit-orchestrator status")


def _give_up_own_claim(ledger: Ledger) -> None:
    """A claim is for the switch that it was taken for: none will come of it now."""
    me = own_identity()
    ledger.ask(lambda state: (Draft(LockReleased()),) if state.claim is not None and state.claim.holder == me else ())


def _refuse_no_name(name: str) -> None:
    problem = name_problem(name)
    if problem:
        raise WorkspaceError(problem, "name one of the folders in the workspace's environments/")


def read_switch_request(metadata_dir: Path) -> dict[str, Any] | None:
    """The request on disk; None when there is none, or none that can be understood.

    One that cannot, and has not changed for two seconds, is journaled with its bytes and removed, unless an orchestrator
    lives: then that does it.
    """
    path = Path(metadata_dir) / REQUEST
    content = read_bytes(path)
    if content is None:
        return None
    now = clock.read()
    inbox = Inbox(Path(metadata_dir), None)  # however old it is, whoever reads it may
    inbox.look(touched_at(path, now) or now)
    item = next((item for item in inbox.look(now) if item.name == REQUEST), None)
    if item is not None and item.kind is AskKind.REJECTED:
        with ledger_of(metadata_dir) as ledger:
            if living_orchestrator(ledger.state) is None and item.key not in ledger.state.inbox_keys:
                ledger.ask(lambda _: (Draft(rejected(item)),))
                inbox.set_aside(item.name, item.key)
                ledger.publish()  # a request of ours gets its place back before what lay on it goes
                inbox.drop_aside(item.name)
        return None
    return read_document(path) if item is None or item.kind is AskKind.SWITCH else None


def write_switch_status(metadata_dir: Path, state: str, progress: float = 0, message: str = "", **fields: Any) -> None:
    """Have a status shown, until a switch has something newer to show or an orchestrator finds that it was long enough.

    `fields`: more of the document, JSON values. Raises ValueError and TypeError for what could not be shown.
    """
    if not state or not state.isprintable():
        message = f"showing a status: state {state!r:.80} is empty or no printable text"
        raise ValueError(message)
    if isinstance(progress, bool) or not 0 <= progress <= 100:  # noqa: PLR2004 - percent
        message = f"showing status {state!r:.80}: progress {progress!r:.80} is no number from 0 to 100"
        raise ValueError(message)
    more = mask(json.dumps(fields, ensure_ascii=False, allow_nan=False))
    if len(more) + len(message) > MOST_CHARS:
        message = f"showing status {state!r:.80}: message and fields are longer than {MOST_CHARS} characters together"
        raise ValueError(message)
    event = StatusSet(state=state, progress=round(progress), message=mask(message), fields=more)
    with ledger_of(metadata_dir) as ledger:
        ledger.ask(lambda _: (Draft(event),))


def read_switch_status(metadata_dir: Path) -> dict[str, Any] | None:
    """The status on disk; None when there is none, or half of one."""
    return read_document(Path(metadata_dir) / STATUS)


def cleanup_switch_status(metadata_dir: Path) -> None:
    """Have no status shown any more. That of an open switch, and a critical failure, stay."""
    with ledger_of(metadata_dir) as ledger:
        ledger.ask(lambda _: (Draft(StatusCleared()),))


def write_startup_state(metadata_dir: Path, **fields: Any) -> None:
    """Keep how ComfyUI is started. What is not given is that of this process.

    Known: python_executable, working_directory, argv, environment_name, workspace_root, port. Raises TypeError for
    others and for values of another type, ValueError for what is no port, WorkspaceError for what can be no environment's name.
    """
    workspace = workspace_of(metadata_dir)
    document = _own_startup(workspace) | fields
    if type(document["port"]) is int and not 0 < document["port"] <= _LAST_PORT:
        message = f"keeping the startup state: {document['port']!r:.40} is no port"
        raise ValueError(message)
    unknown = ", ".join(sorted(document.keys() - _STARTUP_TYPES.keys() - {"timestamp"}))
    wrong = ", ".join(name for name, kind in _STARTUP_TYPES.items() if type(document[name]) not in kind)
    if unknown or wrong:
        message = (
            f"keeping the startup state: unknown fields: {unknown or 'none'}; of the wrong type: {wrong or 'none'}"
        )
        raise TypeError(message)
    if document["environment_name"]:
        _refuse_no_name(document["environment_name"])
    captured = StartupCaptured(
        environment=document["environment_name"],
        workspace_root=document["workspace_root"],
        port=document["port"],
        python_executable=document["python_executable"],
        working_directory=document["working_directory"],
        argv=tuple(map(str, document["argv"])),
    )
    with ledger_of(metadata_dir) as ledger:
        ledger.ask(lambda _: (Draft(captured),))


_STARTUP_TYPES: dict[str, tuple[type, ...]] = {
    "python_executable": (str,),
    "working_directory": (str,),
    "argv": (list, tuple),
    "environment_name": (str,),
    "workspace_root": (str,),
    "port": (int,),
}


def _own_startup(workspace: Workspace) -> dict[str, Any]:
    config, _ = read_config(workspace.config_path, Config())
    return {
        "python_executable": sys.executable,
        "working_directory": str(Path.cwd()),
        "argv": list(sys.argv),
        "environment_name": environment_here(workspace.root),
        "workspace_root": str(workspace.root),
        "port": endpoint_of(sys.argv[1:], config.default_host, config.default_port).port,
    }


def read_startup_state(metadata_dir: Path) -> dict[str, Any] | None:
    """How ComfyUI was started last, as on disk; None when nobody knows."""
    return read_document(Path(metadata_dir) / STARTUP)


def safe_write_command(metadata_dir: Path, command: Any) -> None:
    """Leave a command for the orchestrator, in one piece: it takes the file in and journals it.

    Raises ValueError for what it would not understand.
    """
    understood = parse_command(command) if isinstance(command, dict) else "it is no object"
    if isinstance(understood, str):
        message = f"leaving a command: {understood}; found {command!r:.200}"
        raise ValueError(message)  # noqa: TRY004 - of whatever type the parts are
    folder = Path(metadata_dir)
    temporary = folder / f"{COMMAND}.tmp.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(command, file)
        temporary.replace(folder / COMMAND)
    finally:
        temporary.unlink(missing_ok=True)
