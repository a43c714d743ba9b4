"""A workspace of stand-ins with a real orchestrator, as a user has it: started, asked and looked at by its commands."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from comfygit_journal.cli import main as replay_main
from comfyui_stand_in.environment import free_port
from comfyui_stand_in.install import give_orders, install, make_python
from journal.codec import Recorded, own_actor
from journal.errors import JournalMissing
from journal.events import Event
from journal.identity import is_alive
from journal.store import Journal
from orchestrator.asking import ask_switch, command_ask
from orchestrator.ledger import Ledger
from orchestrator.reading import follow_state
from orchestrator.workspace import open_workspace
from projections.evolve import fold
from projections.state import WorkspaceState
from tests.helpers.waiting import until

E = TypeVar("E", bound=Event)

PATIENCE_S = 30.0
QUICK = {
    "probe_interval_s": 0.05,
    "stop_timeout_s": 3,
    "health_check_timeout_s": 10,
    "crash_retry_delay_s": 0.2,
}
"""Settings that make a test short; what a test is about it sets itself."""


class LiveWorkspace:
    """One workspace. `close` ends what still runs, whatever the test did."""

    def __init__(self, root: Path, environments: Mapping[str, Mapping[str, object] | None]) -> None:
        self.root = root
        self.metadata = root / ".metadata"
        self.metadata.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.orchestrators: list[subprocess.Popen[bytes]] = []
        for name, orders in environments.items():
            self.add(name, orders)
        self.configure()

    def add(self, name: str, orders: Mapping[str, object] | None = None) -> Path:
        """An environment; the folder of its ComfyUI."""
        comfyui = self.comfyui(name)
        install(comfyui, orders)
        make_python(comfyui.parent / ".venv")
        return comfyui

    def comfyui(self, name: str) -> Path:
        return self.root / "environments" / name / "ComfyUI"

    def order(self, name: str, orders: Mapping[str, object] | None) -> None:
        """What its next starts do wrong."""
        give_orders(self.comfyui(name), orders)

    def configure(self, **settings: object) -> None:
        document = {"orchestrator": {**QUICK, "control_port": free_port(), **settings}}
        (self.metadata / "orchestrator_config.json").write_text(json.dumps(document))

    def start(self, environment: str = "", *arguments: str, **environ: str) -> subprocess.Popen[bytes]:
        """An orchestrator as a panel starts it. It is not waited for."""
        command = [sys.executable, "-m", "orchestrator", "--workspace", str(self.root)]
        command += ["--environment", environment] if environment else []
        command += ["--args", "--port", str(self.port), *arguments]
        with (self.metadata / "orchestrator.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environ})
        self.orchestrators.append(process)
        return process

    def serve(self, environment: str, *arguments: str) -> subprocess.Popen[bytes]:
        """The same, and `environment` serves when it returns."""
        process = self.start(environment, *arguments)
        self.until(lambda state: state.serving == environment)
        return process

    def serve_kept(self, environment: str, *arguments: str) -> subprocess.Popen[bytes]:
        """The same, and its content is kept: nothing more is journaled by itself before its probation is over."""
        process = self.serve(environment, *arguments)
        self.until(lambda state: all(g.kept or g.not_kept for g in state.generations))
        return process

    def cli(self, *arguments: str, tool: str = "orchestrator", **environ: str) -> subprocess.CompletedProcess[str]:
        """One of the installed commands."""
        script = Path(sys.executable).with_name(f"comfygit-{tool}")
        command = [str(script), *arguments, "--workspace", str(self.root)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environ}
        )

    def log(self) -> str:
        return (self.metadata / "orchestrator.log").read_text(errors="replace")

    def state(self) -> WorkspaceState:
        return fold(self.events())

    def events(self) -> list[Recorded]:
        try:
            with Journal.open_readonly(self.metadata / "journal.db") as journal:
                return list(journal.read())
        except JournalMissing:  # its orchestrator has only just been started
            return []

    def of(self, kind: type[E]) -> list[E]:
        """The events of that class, in order."""
        return [recorded.event for recorded in self.events() if isinstance(recorded.event, kind)]

    def recorded(self, *kinds: type[Event]) -> list[Recorded]:
        """The same with their envelopes, of one class or several."""
        return [recorded for recorded in self.events() if isinstance(recorded.event, kinds)]

    def names(self) -> list[str]:
        return [recorded.event.stored_name for recorded in self.events()]

    def until(self, reached: Callable[[WorkspaceState], bool], timeout_s: float = PATIENCE_S) -> WorkspaceState:
        """The state, once it is as wanted. Fails with the end of the log."""

        deadline = time.monotonic() + timeout_s
        until((self.metadata / "journal.head").exists, timeout_s)
        with closing(follow_state(self.metadata / "journal.db")) as states:
            for state in states:
                if reached(state):
                    return state
                if time.monotonic() > deadline:
                    break
        message = f"not within {timeout_s} s\n{self.names()[-12:]}\n{self.log()[-3000:]}"
        raise AssertionError(message)

    def switch(self, target: str) -> WorkspaceState:
        """What `switch TARGET --wait` does, without a process of its own: the state once that switch has ended."""
        with Ledger.open(open_workspace(self.root), own_actor("cli")) as ledger:
            answer = ask_switch(ledger, command_ask(ledger.workspace, target))
        assert answer.refused is None
        return self.until(lambda state: state.switches[-1:] != () and state.switches[-1].switch == answer.switch)

    def until_over(self, count: int = 1) -> WorkspaceState:
        """The state once that many switches have ended."""
        return self.until(lambda state: len(state.switches) >= count and state.lock is None)

    def ask(self, path: str, body: object | None = None, port: int | None = None) -> Any:
        """What ComfyUI (or whoever listens on `port`) answers; with `body` a POST."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{port or self.port}{path}"
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"} if data else {})
        with closing(urllib.request.urlopen(request, timeout=5)) as response:
            return json.loads(response.read() or b"null")

    def leave(self, code: int) -> None:
        """ComfyUI leaves with that code, by itself."""
        self.ask("/stand_in/exit", {"code": code})

    def request(self, target: str, source: str | None = None) -> None:
        """A request as the public panel writes it: open, write, close, and the lock touched before."""
        (self.metadata / ".switch.lock").touch()
        with (self.metadata / ".switch_request.json").open("w") as file:
            json.dump({"target_env": target, "source_env": source, "timestamp": 1_700_000_000.0}, file)

    def command(self, **fields: object) -> None:
        """A `.cmd` as others write it: by rename."""
        temporary = self.metadata / f".cmd.tmp.{os.getpid()}"
        temporary.write_text(json.dumps(fields))
        temporary.rename(self.metadata / ".cmd")

    def starts(self, name: str) -> list[dict[str, Any]]:
        """What each start of that environment's stand-in said of itself."""
        path = self.comfyui(name) / "starts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def status(self) -> dict[str, Any] | None:
        path = self.metadata / ".switch_status.json"
        return json.loads(path.read_text()) if path.exists() else None

    def control_port(self) -> int:
        """Where the control server listens, once it does."""
        path = self.metadata / ".control_port"
        until(path.exists)
        return int(path.read_text())

    def shown(self, state: str) -> dict[str, Any]:
        """The status document, once it says `state`: the file follows the journal a moment later."""
        until(lambda: (self.status() or {}).get("state") == state)
        return self.status() or {}

    def stop(self, process: subprocess.Popen[bytes] | None = None) -> int:
        """SIGTERM, and its exit status."""
        process = process or self.orchestrators[-1]
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def die(self) -> None:
        """SIGKILL to the orchestrator and its guard, so that nobody starts it again. What it started lives on."""
        state = self.state()
        assert state.orchestrator is not None
        os.kill(state.orchestrator.pid, signal.SIGSTOP)  # it would take its guard's place
        both = [identity for identity in (state.guard, state.orchestrator) if identity is not None]
        for identity in both:
            os.kill(identity.pid, signal.SIGKILL)
        until(lambda: not any(is_alive(identity) for identity in both))
        for process in self.orchestrators[-1:]:
            process.wait(PATIENCE_S)

    def agrees(self) -> bool:
        """Whether every file says what the journal says."""
        if not (self.metadata / "journal.db").exists():
            return True
        status, said = self._replayed()
        assert "all views agree" in said, said
        return status == 0

    def files_agree(self) -> bool:
        """The same, while somebody may be about to write them."""
        return self._replayed()[0] == 0

    def _replayed(self) -> tuple[int, str]:
        said = io.StringIO()  # the command in this process: starting one for each test would take longer than the rest
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status = replay_main(["replay", "--workspace", str(self.root)])
        return status, said.getvalue()

    def close(self) -> None:
        for process in self.orchestrators:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.orchestrators:
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._end_the_detached()

    def _end_the_detached(self) -> None:
        """An orchestrator that a command started in the background, and what a killed one left running."""
        identity = self.state().orchestrator
        if identity is not None and is_alive(identity):
            os.kill(identity.pid, signal.SIGTERM)
            until(lambda: not is_alive(identity), PATIENCE_S)
        for process in self.state().processes.values():
            if process.identity is not None and is_alive(process.identity):
                os.kill(process.identity.pid, signal.SIGKILL)
