"""The world as `decide` gets it: collected just before each decision, and only as far as the state makes it matter."""

from collections.abc import Iterable
from pathlib import Path

import attrs

from journal.clock import MS, Stamp, is_over
from journal.events import LeftBehind, Role
from journal.identity import Identity, identify, is_alive
from journal.masking import mask
from orchestrator.config import Config
from orchestrator.deciding.needs import environments_needed, is_clearing, needs_fingerprint
from orchestrator.deciding.situation import endpoint_for
from orchestrator.endpoint import Endpoint
from orchestrator.environments.backends import backend_for
from orchestrator.environments.torch_backend import torch_of
from orchestrator.environments.workers import Workers
from orchestrator.inbox import Inbox
from orchestrator.ladders import is_unkillable
from orchestrator.logs.tail import tail
from orchestrator.network.ports import can_bind, port_holders, working_directory
from orchestrator.processes.belonging import belongs
from orchestrator.processes.children import Children, find_spawned
from orchestrator.processes.signals import may_signal
from orchestrator.processes.table import name_of
from orchestrator.workspace import Workspace
from orchestrator.world import (
    AskKind,
    ChildFacts,
    EnvironmentFacts,
    InboxItem,
    Looks,
    PortFacts,
    Presence,
    ProbeFacts,
    World,
)
from projections.locking import ForeignLock
from projections.publisher import is_ours, read_bytes
from projections.state import Process, WorkspaceState
from projections.views import LOCK, STARTUP

ELSEWHERE = "it is another workspace's, of which this one is a copy"
LOG_TAIL_LINES = 20
SOURCE_LOOK_NS = 200 * MS
"""How often the process table is searched for a source: it costs some 10 ms. In between the last answer holds."""


@attrs.define
class Holders:
    """What actions leave for the next look: seen once, then gone, all but `looks`. Nothing in here matters after a crash."""

    signal: str = ""
    probe: ProbeFacts | None = None
    probing: bool = False
    looks: Looks | None = None
    spawned: dict[int, Identity | str] = attrs.Factory(dict)


@attrs.frozen
class _SourceSearch:
    """A search for the source that holds the port: when, in which folders, and who it was."""

    at: Stamp
    folders: frozenset[str]
    found: Identity | None


class Observer:
    """Looks at processes, ports, files and environments for one orchestrator."""

    def __init__(
        self,
        workspace: Workspace,
        me: Identity,
        children: Children,
        workers: Workers,
        inbox: Inbox,
        launcher: tuple[str, ...],
    ) -> None:
        """`launcher` is the command line that people run us with."""
        self.holders = Holders()
        self._workspace = workspace
        self._me = me
        self._children = children
        self._workers = workers
        self._inbox = inbox
        self._launcher = launcher
        self._source_search: _SourceSearch | None = None
        self._lock_seen: ForeignLock | None = None

    def look(self, state: WorkspaceState, config: Config, now: Stamp) -> World:
        """The facts for one decision on `state`."""
        inbox = tuple(self._resolved(item, state) for item in self._inbox.look(now, state.seq))
        endpoint = endpoint_for(state, config)
        processes = {p.spawn: self._process(p, state.journal_id) for p in state.processes.values()}
        free = all(facts.presence is Presence.GONE and not facts.left_behind for facts in processes.values())
        next_start = state.environment if free and state.job is None else ""
        return World(
            me=self._me,
            workspace=str(self._workspace.root),
            launcher=self._launcher,
            signal=self.holders.signal,
            processes=processes,
            work=None if state.worker is None else self._workers.facts(state.worker),
            probe=self.holders.probe,
            probing=self.holders.probing,
            looks=self.holders.looks,
            port=_port(endpoint) if next_start or (free and is_clearing(state)) else None,
            inbox=inbox,
            source=self._source(state, inbox, endpoint, now),
            foreign_lock=self._foreign_lock(state, now),
            claim_is_dead=state.claim is not None and not is_alive(state.claim.holder),
            startup_environment=self._startup_environment(state) if inbox else "",
            environments={
                name: self._environment(name, closely=name == next_start or needs_fingerprint(name, state))
                for name in {*environments_needed(state, inbox), next_start} - {""}
            },
        )

    def _process(self, process: Process, journal_id: str) -> ChildFacts:
        spawn, identity = process.spawn, process.identity
        if identity is None:
            return self._intended(process, journal_id)
        if spawn not in self._children:
            if process.role is not Role.SOURCE and not self._is_ours(process, identity):
                left = LeftBehind(identity, name_of(identity.pid), ELSEWHERE)
                return ChildFacts(Presence.ALIVE, identity, left_behind=(left,), elsewhere=True)
            self._children.adopt(spawn, identity)
        ended = self._children.poll(spawn)
        if ended is None:
            untold = self._children.is_untold(spawn)
            if untold or not is_unkillable(process):
                return ChildFacts(Presence.PENDING if untold else Presence.ALIVE, identity)
            unkillable = (identity, *self._children.survivors(spawn))
            return ChildFacts(Presence.ALIVE, identity, left_behind=_left_behind(unkillable))
        if process.role is Role.SOURCE:
            return ChildFacts(Presence.GONE, identity)
        return ChildFacts(
            Presence.GONE,
            identity,
            code=ended.code,
            signal=ended.signal,
            left_behind=_left_behind(self._children.survivors(spawn)),
            log_tail=tuple(
                mask(line) for line in tail(self._workspace.log_path(process.environment, spawn), LOG_TAIL_LINES)
            ),
            reaped=ended.reaped,
        )

    def _is_ours(self, process: Process, identity: Identity) -> bool:
        """Whether it lives here, or nowhere any more: then how it ended is asked for as ever."""
        log = self._workspace.log_path(process.environment, process.spawn)
        folder = self._workspace.environment(process.environment).root
        return belongs(identity, log, folder) or not is_alive(identity)

    def _intended(self, process: Process, journal_id: str) -> ChildFacts:
        outcome = self.holders.spawned.get(process.spawn)
        if isinstance(outcome, Identity):
            return ChildFacts(Presence.ALIVE, outcome)
        if outcome is not None:
            return ChildFacts(Presence.ABSENT, error=outcome)
        log = self._workspace.log_path(process.environment, process.spawn)
        found = find_spawned(journal_id, process.spawn, log)
        if isinstance(found, Identity) and self._is_ours(process, found):
            return ChildFacts(Presence.ALIVE, found)
        return ChildFacts(Presence.PENDING if found == "pending" else Presence.ABSENT)

    def _resolved(self, item: InboxItem, state: WorkspaceState) -> InboxItem:
        """The item without a pid that is dead, or ours: neither is a ComfyUI started by hand."""
        if item.pid is None:
            return item
        identity = identify(item.pid)
        ours = {self._me, *(p.identity for p in state.processes.values())}
        return item if identity is not None and identity not in ours else attrs.evolve(item, pid=None)

    def _source(
        self, state: WorkspaceState, inbox: tuple[InboxItem, ...], endpoint: Endpoint, now: Stamp
    ) -> Identity | None:
        """The ComfyUI of the source environment that holds the port and is not ours, while its switch makes it matter."""
        if state.processes:
            return None
        names = [item.source or self._startup_environment(state) for item in inbox if item.kind is AskKind.SWITCH]
        job = state.job
        if job is not None and job.origin.is_a_page and not job.rolling_back and job.source:
            names.append(job.source)
        folders = frozenset(
            str(self._workspace.environment(name).comfyui.resolve())
            for name in names
            if name and not self._workspace.environment_problem(name)
        )
        if not folders:
            return None
        if job is not None and job.requester is not None and working_directory(job.requester) in folders:
            return job.requester
        last = self._source_search
        if last is None or last.folders != folders or is_over(last.at, SOURCE_LOOK_NS, now):
            last = self._source_search = _SourceSearch(now, folders, _listener_in(folders, endpoint))
        return last.found if last.found is not None and is_alive(last.found) else None

    def _foreign_lock(self, state: WorkspaceState, now: Stamp) -> ForeignLock | None:
        """As first seen, until it is touched again: a clock that is set meanwhile makes it neither older nor younger."""
        last, found = self._lock_seen, foreign_lock(self._workspace, now, state)
        if last is None or found is None or found.touched.wall_ns != last.touched.wall_ns:
            self._lock_seen = found
        return self._lock_seen

    def _startup_environment(self, state: WorkspaceState) -> str:
        return state.startup.environment if state.startup is not None else read_startup_environment(self._workspace)

    def _environment(self, name: str, *, closely: bool) -> EnvironmentFacts:
        problem = self._workspace.environment_problem(name)
        if problem:
            return EnvironmentFacts(name, problem)
        paths = self._workspace.environment(name)
        content = backend_for(paths).fingerprint(paths) if closely else None
        torch = torch_of(paths.venv) if closely else None
        return EnvironmentFacts(name, "", content, str(paths.python), str(paths.comfyui), torch)


def _left_behind(survivors: Iterable[Identity]) -> tuple[LeftBehind, ...]:
    """They, by pid, and why we may not signal those that we may not."""
    why = "we may not signal it: it is another user's"
    found = [LeftBehind(one, name_of(one.pid), "" if may_signal(one) else why) for one in survivors]
    return tuple(sorted(found, key=lambda one: one.identity.pid))


def _listener_in(folders: frozenset[str], endpoint: Endpoint) -> Identity | None:
    """Who holds the port and was started in one of `folders`."""
    if can_bind(endpoint.host, endpoint.port):
        return None
    return next((h.identity for h in port_holders(endpoint.port) if h.identity and h.cwd in folders), None)


def _port(endpoint: Endpoint) -> PortFacts:
    if can_bind(endpoint.host, endpoint.port):
        return PortFacts(endpoint.port, free=True)
    holders = port_holders(endpoint.port)
    described = ", ".join(
        f"pid {h.identity.pid} ({h.command or 'command unknown'})" for h in holders if h.identity is not None
    )
    return PortFacts(endpoint.port, free=False, holder=mask(described) or "a process that we may not look at")


def foreign_lock(workspace: Workspace, now: Stamp, state: WorkspaceState) -> ForeignLock | None:
    """The lock file, if it is not ours, with its mtime as seen from `now` and from the journal's last event."""
    path = workspace.metadata / LOCK
    content = read_bytes(path)
    if content is None or is_ours(content, state.seq):
        return None
    touched = touched_at(path, now, state.at)
    return None if touched is None else ForeignLock(touched)


def touched_at(path: Path, now: Stamp, earlier: Stamp | None = None) -> Stamp | None:
    """When the file was last written to, as a stamp of this boot; None when it is gone.

    `earlier` is a stamp of before: where the wall clock was set since, the two put the mtime at different times, and of
    those that are not in the future the later one counts.
    """
    try:
        wall_ns = path.stat().st_mtime_ns
    except OSError:
        return None
    known = [now] if earlier is None or earlier.boot_id != now.boot_id else [now, earlier]
    times = [stamp.monotonic_ns - (stamp.wall_ns - wall_ns) for stamp in known]
    latest = max((at_ns for at_ns in times if at_ns <= now.monotonic_ns), default=now.monotonic_ns)
    return attrs.evolve(now, wall_ns=wall_ns, monotonic_ns=latest)


def read_startup_environment(workspace: Workspace) -> str:
    """The environment that `.startup_state.json` names, whoever wrote it; "" when it does not."""
    import json

    try:
        document = json.loads(read_bytes(workspace.metadata / STARTUP) or b"")
    except (ValueError, RecursionError):
        return ""
    name = document.get("environment_name") if isinstance(document, dict) else None
    return name if isinstance(name, str) and not workspace.environment_problem(name) else ""
