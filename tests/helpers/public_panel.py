"""The public manager's panel, as far as it switches: a custom node for the stand-in that does the same in the same order.

It touches the lock, writes the request without care, starts `server/orchestrator.py` where nobody supervises, waits two
seconds at most for whoever advertises itself, answers its page, and leaves with 43 two seconds later. Started by hand
while an orchestrator switches, it asks that one to give up, and ComfyUI waits until the lock is gone.
"""

import re
from pathlib import Path

import orchestrator
from tests.helpers.live_workspace import LiveWorkspace

OURS = Path(orchestrator.__file__).parents[1]
SCRIPT = """\
import sys; sys.path.insert(0, {ours!r})  # else this very file would be the `orchestrator` that is imported
from orchestrator.cli import main
sys.exit(main())
"""
"""What takes the place of the manager's own `server/orchestrator.py`."""

NODE = """\
import asyncio, json, os, subprocess, sys, time
from pathlib import Path
from aiohttp import web
from server import PromptServer

WORKSPACE, PYTHON, CALLS = Path({workspace!r}), {python!r}, {calls!r}
METADATA = WORKSPACE / ".metadata"
NODE_CLASS_MAPPINGS = {{}}


def spawn(target):
    command = [PYTHON, str(Path(__file__).parent / "server" / "orchestrator.py"), "--workspace", str(WORKSPACE)]
    command += ["--environment", target, "--args", *sys.argv[1:], "--enable-manager"]
    with open(METADATA / "orchestrator.log", "a") as log:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                         cwd=str(WORKSPACE), start_new_session=True)


def advertised():
    try:
        return json.loads((METADATA / ".supervisor_control.json").read_text())
    except (OSError, ValueError):
        return None


async def wait_for_an_observer(request):
    deadline = time.time() + 2.0
    while time.time() < deadline and not advertised():
        time.sleep(0.05)  # it blocks the whole server, as the real one does
    found = advertised()
    if not found:
        return None
    origin = "http://%s:%d" % (request.host.split(":")[0], found["port"])
    routes = {{"status_url": "/v2/comfygit/switch_status", "logs_url": "/v2/comfygit/switch_logs"}}
    return {{"kind": found["kind"], **{{name: origin + path for name, path in routes.items()}}}}


async def switch_by_calls(request, target, source):
    sys.path.append(str(Path(__file__).parent / "server"))
    import orchestrator
    managed, workspace, environment = orchestrator.detect_environment_type()
    assert managed and environment.name == source and workspace.path == WORKSPACE
    if not orchestrator.acquire_switch_lock(METADATA):
        return web.json_response({{"error": "Environment switch already in progress"}}, status=409)
    orchestrator.write_switch_request(METADATA, target, source_env=source)
    if orchestrator.should_spawn_orchestrator_for_switch():
        (METADATA / ".supervisor_control.json").unlink(missing_ok=True)
        spawn(target)
    observer = await wait_for_an_observer(request)
    asyncio.ensure_future(leave())
    return web.json_response({{"status": "switching", "message": "Switching...", "observer": observer}})


async def leave():
    await asyncio.sleep(2)
    os._exit(43)


@PromptServer.instance.routes.post("/v2/comfygit/switch_environment")
async def switch_environment(request):
    target, source = (await request.json())["target_env"], Path.cwd().parent.name
    if CALLS:
        return await switch_by_calls(request, target, source)
    lock = METADATA / ".switch.lock"
    if lock.exists() and time.time() - lock.stat().st_mtime <= 300:
        return web.json_response({{"error": "Environment switch already in progress"}}, status=409)
    lock.touch()
    with open(METADATA / ".switch_request.json", "w") as file:
        json.dump({{"target_env": target, "source_env": source, "timestamp": time.time()}}, file, indent=2)
    if os.environ.get("COMFYGIT_SUPERVISED") != "1":
        (METADATA / ".supervisor_control.json").unlink(missing_ok=True)
        spawn(target)
    observer = await wait_for_an_observer(request)
    asyncio.ensure_future(leave())
    return web.json_response({{"status": "switching", "message": "Switching...", "observer": observer}})


def started_by_hand_during_a_switch():
    try:
        os.kill(int((METADATA / ".orchestrator.pid").read_text()), 0)
    except (OSError, ValueError):
        return False
    return os.environ.get("COMFYGIT_SUPERVISED") != "1" and (METADATA / ".switch.lock").exists()


def take_over():
    temporary = METADATA / (".cmd.tmp.%d" % os.getpid())
    command = {{"command": "abort_switch", "reason": "manual_restart", "timestamp": time.time(), "pid": os.getpid()}}
    temporary.write_text(json.dumps(command))
    temporary.replace(METADATA / ".cmd")
    for _ in range(30):
        time.sleep(1)
        if not ((METADATA / ".switch.lock").exists() and (METADATA / ".orchestrator.pid").exists()):
            return
    raise SystemExit("nobody gave up")  # the real one removes the files then, and goes on


if started_by_hand_during_a_switch():
    take_over()


@PromptServer.instance.routes.get("/v2/comfygit/switch_status")
async def switch_status(request):
    try:
        return web.json_response(json.loads((METADATA / ".switch_status.json").read_text()))
    except (OSError, ValueError):
        return web.json_response({{"state": "idle", "message": "No switch in progress"}})
"""


def the_lines() -> str:
    """The lines of docs/public-manager.md, which are program and module at once."""
    [code] = re.findall(r"```python\n(.*?)```", (OURS / "docs" / "public-manager.md").read_text("utf-8"), re.DOTALL)
    return str(code).replace("ORCHESTRATOR", str(OURS))


def install_public_panel(live: LiveWorkspace, python: str, *names: str, calls: bool = False) -> None:
    """Put it into the ComfyUIs of `names`; `python` is that of an orchestrator's venv.

    With `calls` it has our calls in place of its own functions, too.
    """
    script = the_lines() if calls else SCRIPT.format(ours=str(OURS))
    for name in names:
        folder = live.comfyui(name) / "custom_nodes" / "comfygit-manager"
        (folder / "server").mkdir(parents=True)
        (folder / "server" / "orchestrator.py").write_text(script)
        (folder / "__init__.py").write_text(NODE.format(workspace=str(live.root), python=python, calls=calls))
