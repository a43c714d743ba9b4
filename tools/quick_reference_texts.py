"""What the quick reference says about things of which the code knows only the name. Each has to fit into one cell."""

import click

from comfygit_journal.cli import BROKEN_PIPE, INTERRUPTED
from orchestrator import guard
from orchestrator.control import refusing
from orchestrator.deciding.settling import EXIT_RESTART, EXIT_SWITCH
from orchestrator.inbox import COMMAND
from orchestrator.occupancy import SINGLETON
from orchestrator.processes.table import SPAWN_MARKER
from projections import views

EXIT_CODES = (
    ("ComfyUI", "0", "it ends, and so does the orchestrator"),
    ("ComfyUI", EXIT_RESTART, "start the same environment again"),
    ("ComfyUI", EXIT_SWITCH, "switch: a request waits"),
    ("ComfyUI", "other", "a crash: tried again, then back to what was healthy"),
    ("commands", 0, "done; what was asked for is so"),
    ("commands", click.ClickException.exit_code, "failed; for a check: something is wrong"),
    ("commands", click.UsageError.exit_code, "wrong usage"),
    ("commands", INTERRUPTED, "interrupted by Ctrl-C"),
    ("comfygit-journal", BROKEN_PIPE, "whoever read its output has gone"),
)
"""Whose, which, what it means."""

FILES = {
    "journal.db": ("truth", "every event: SQLite, append-only, hash-chained"),
    "journal.head": ("truth", "last seq and its hash; rewritten at each append, so that others can watch it"),
    "journal.lock": ("lock", "held by whoever appends, for as long as that takes"),
    SINGLETON: ("lock", "held by the orchestrator for as long as it lives; empty"),
    views.REQUEST: ("inbox, view", "the switch under way: `target_env`, `source_env`, `timestamp`"),
    COMMAND: ("inbox", "`command`: restart, shutdown or abort_switch; written by rename"),
    views.STATUS: ("view", "how the switch stands: `state`, `progress`, `message`, `error`"),
    views.STARTUP: ("view", "how ComfyUI was started last"),
    views.PID: ("view", "the orchestrator's pid"),
    views.LOCK: ("view", "exists while a switch holds the lock; others may touch it"),
    views.CONTROL_PORT: ("view", "the control server's port"),
    views.SUPERVISOR: ("view", "the control server's host and port, as JSON"),
    "orchestrator_config.json": ("settings", "read before each start; never rewritten by us"),
    "fingerprint-cache.json": ("cache", "hashes of files that have not changed since; may be deleted at any time"),
    "orchestrator.log": ("log", "the orchestrator's own output; rotated by copy and truncate"),
    "supervisor-switch.log": ("log", "one JSON object per line: what a switch does, and its target's output"),
    "logs/<environment>/<start>.log": ("log", "what one start of ComfyUI printed; above 64 MiB its middle is removed"),
}
"""Name: what kind of file it is, what it holds."""

CONTROL_ROUTES = (
    (
        "GET",
        refusing.HEALTH,
        "that it lives: `pid`, `current_env`, `port`, `comfyui`, and since when that does not answer",
    ),
    ("GET", refusing.STATUS, "the status document, or `idle`"),
    ("GET", refusing.LOGS, "the end of the switch log"),
    ("POST", frozenset({refusing.RESTART}), "start the same environment again"),
    ("POST", frozenset({refusing.KILL}), "stop ComfyUI, end the orchestrator"),
)

VARIABLES = {
    "COMFYGIT_HOME": "the workspace; read where no `--workspace` is given, and set for ComfyUI",
    "COMFYGIT_SUPERVISED": "`1` for a ComfyUI that has a supervisor; set for ComfyUI",
    "COMFYGIT_CG_RUN_SUPERVISOR": "`1` where `cg run` supervises; taken out of ComfyUI's environment",
    "COMFYGIT_DEV_CORE_PATH": "a folder to install comfygit-core from, instead of PyPI",
    guard.ENVIRON: "how an orchestrator and its guard talk; nobody else gets it",
    SPAWN_MARKER: "`<journal id>:<start>`; marks all that a ComfyUI of ours starts; `none` marks what outlives it",
}
