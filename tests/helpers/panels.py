"""Our panel inside the stand-ins of a live workspace, and a page that asks it."""

import json
import urllib.error
import urllib.request
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

from orchestrator.panel_installation import install_panel
from orchestrator.workspace import open_workspace
from tests.helpers.live_workspace import LiveWorkspace


def with_panel(live: LiveWorkspace, orchestrator_venv: Path, *names: str) -> LiveWorkspace:
    """The workspace, with the panel in the ComfyUIs of `names`, and the venv that it would make."""
    for name in names:
        install_panel(open_workspace(live.root), name)
    link = live.metadata / ".orchestrator_venv" / orchestrator_venv.name
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(orchestrator_venv)
    return live


def call(url: str, body: object | None = None, method: str = "", **headers: str) -> tuple[int, Any]:
    """Status and document of an answer; with `body` a POST of JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers} if data else headers)
    request.method = method or request.get_method()
    try:
        with closing(urllib.request.urlopen(request, timeout=30)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with closing(error):
            return error.code, json.loads(error.read() or b"null")


def ask_panel(live: LiveWorkspace, path: str, body: object | None = None, **headers: str) -> tuple[int, Any]:
    """What the panel's route under `/v2` answers, as the browser reaches it: under `/api`."""
    return call(f"http://127.0.0.1:{live.port}/api/v2{path}", body, **headers)


def ask_to_switch(live: LiveWorkspace, target: str) -> dict[str, Any]:
    """The panel's answer to a page that wants to switch; it has to be granted."""
    status, answer = ask_panel(live, "/comfygit/switch_environment", {"target_env": target})
    assert status == HTTPStatus.OK, answer
    assert answer["status"] == "switching"
    return dict(answer)
