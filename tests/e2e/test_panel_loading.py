"""What ComfyUI's start has of the panel: little; and what the panel refuses to do once it is there."""

import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from journal.events import AbortRequested, OrchestratorStarted, SwitchAborted, SwitchRequested
from orchestrator.panel.venv import is_current, python_in
from tests.helpers.bystanders import start_by_hand
from tests.helpers.panels import ask_panel, call, with_panel
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def panel_workspace(workspace, orchestrator_venv):
    """The panel is in `good`."""

    def make(**environments):
        return with_panel(workspace(**environments), orchestrator_venv, "good")

    return make


@pytest.mark.timeout(180)
@pytest.mark.scenario("OB-07", "OB-11")
def test_the_venv_is_made_by_a_process_of_its_own_while_comfyui_starts_and_serves(
    panel_workspace, orchestrator_venv, by_hand
):
    live = panel_workspace(good=None)
    (live.metadata / ".orchestrator_venv" / orchestrator_venv.name).unlink()
    by_hand(live, "good")
    venv = live.metadata / ".orchestrator_venv" / orchestrator_venv.name
    [wheel] = (live.comfyui("good") / "custom_nodes" / "comfygit-orchestrator").glob("*.whl")
    assert not is_current(venv, wheel)  # ComfyUI has not waited for it
    assert ask_panel(live, "/comfygit/environments")[1]["current"] == "good"
    until(lambda: is_current(venv, wheel), 150)
    subprocess.run([str(python_in(venv)), "-P", "-c", "import orchestrator, journal, comfygit_core"], check=True)
    assert not live.events()


@pytest.mark.scenario("OB-12")
def test_many_wishes_at_the_same_moment_start_one_orchestrator(panel_workspace, by_hand):
    live = panel_workspace(good=None, other=None)
    by_hand(live, "good")
    answers = at_once(live, [{"target_env": "other"}] * 6)
    assert {status for status, _ in answers} <= {200, 409}  # the same wish again may be the switch that is open
    assert 200 in [status for status, _ in answers]
    assert live.until_over().serving == "other"
    assert len(live.of(OrchestratorStarted)) == len(live.of(SwitchRequested)) == 1


@pytest.mark.scenario("OB-12")
def test_many_commands_at_the_same_moment_start_one_orchestrator_too(workspace):
    live = workspace(good=None)
    script = str(Path(sys.executable).with_name("comfygit-orchestrator"))
    command = [
        script,
        "spawn",
        "--environment",
        "good",
        "--workspace",
        str(live.root),
        "--args",
        "--port",
        str(live.port),
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait(30) for process in processes] == [0, 0, 0, 0]
    live.until(lambda state: state.serving == "good")
    assert len(live.of(OrchestratorStarted)) == len(live.starts("good")) == 1


def at_once(live, bodies):
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: ask_panel(live, "/comfygit/switch_environment", body), bodies))


NONSENSE = [
    ([], 400),
    ({}, 400),
    ({"target_env": 7}, 400),
    ({"target_env": ""}, 400),
    ({"target_env": "other", "workspace_path": 7}, 400),
    ({"target_env": "other", "workspace_path": "/nowhere"}, 404),
    ({"target_env": "nowhere"}, 404),
    ({"target_env": "../good"}, 404),
    ({"target_env": "--args"}, 404),
    ({"target_env": "x" * 300}, 404),
    ({"target_env": "a\nb"}, 404),
    ({"target_env": "x" * 100_000}, 400),
]


@pytest.mark.scenario("B-27")
def test_wishes_that_make_no_sense_are_refused_and_start_nothing(refusing):
    live, source = refusing
    for body, expected in NONSENSE:
        status, answer = ask_panel(live, "/comfygit/switch_environment", body)
        assert (status, bool(answer["error"])) == (expected, True), body
    assert not live.of(SwitchRequested)
    assert not live.of(OrchestratorStarted)
    assert source.poll() is None


@pytest.fixture
def refusing(panel_workspace, by_hand):
    live = panel_workspace(good=None, other=None)
    return live, by_hand(live, "good")


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
]


def test_a_page_of_another_site_cannot_make_comfyui_leave(refusing):
    live, source = refusing
    for headers in FOREIGN:
        for path in (
            "/comfygit/stop",
            "/manager/reboot",
            "/comfygit/switch_environment",
            "/comfygit/orchestrator/kill",
        ):
            assert ask_panel(live, path, {"target_env": "other"}, **headers)[0] == 403
    own = {"Origin": f"http://127.0.0.1:{live.port}", "Sec-Fetch-Site": "same-origin"}
    proxied = {"Origin": "https://comfy.example.org", "X-Forwarded-Host": "comfy.example.org"}
    for headers in (own, proxied):
        assert ask_panel(live, "/comfygit/switch_environment", {"target_env": "nowhere"}, **headers)[0] == 404
    assert source.poll() is None


def test_reading_a_path_that_acts_does_not_act(refusing):
    live, source = refusing
    for path in ("/v2/comfygit/stop", "/v2/manager/reboot"):
        answer = raw(live.port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nConnection: close\r\n\r\n")
        assert re.match(r"HTTP/1.1 40[45]", answer)
    assert source.poll() is None


def raw(port, text):
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as connection:
        connection.sendall(text.encode())
        return connection.makefile("r").read()


def test_where_the_public_manager_is_enabled_the_routes_are_its_own(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    theirs = live.comfyui("good") / "custom_nodes" / "comfygit-manager"
    (theirs / "server").mkdir(parents=True)
    for name in ("server/orchestrator.py", "server/comfygit_panel.py", "__init__.py"):
        (theirs / name).touch()
    by_hand(live, "good")
    assert answered(live, "/v2/comfygit/switch_status") == "404"
    assert "gives way" in (live.root / "good.by-hand.log").read_text()


def answered(live, path):
    return raw(live.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").split(" ")[1]


def test_another_custom_node_that_has_one_of_our_paths_keeps_it(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    node = live.comfyui("good") / "custom_nodes" / "z_late_node.py"
    node.write_text(
        "from aiohttp import web\nfrom server import PromptServer\n"
        "@PromptServer.instance.routes.get('/v2/comfygit/switch_status')\n"
        "async def theirs(request):\n    return web.json_response({'theirs': True})\n"
    )
    by_hand(live, "good")
    assert ask_panel(live, "/comfygit/switch_status") == (200, {"theirs": True})
    assert ask_panel(live, "/comfygit/environments")[0] == 200


def test_a_panel_that_cannot_be_loaded_does_not_keep_comfyui_from_starting(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    panel = live.comfyui("good") / "custom_nodes" / "comfygit-orchestrator"
    (panel / "routes.py").write_text("raise RuntimeError('broken')")
    by_hand(live, "good")
    assert call(f"http://127.0.0.1:{live.port}/system_stats")[0] == 200
    assert "ComfyUI goes on without it" in (live.root / "good.by-hand.log").read_text()


def test_a_comfyui_that_is_started_by_hand_in_the_middle_of_a_switch_gets_the_port(panel_workspace):
    live = panel_workspace(good=None, slow={"start_delay_s": 30})
    orchestrator = live.serve("good")
    live.control_port()
    live.cli("switch", "slow")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    mine = start_by_hand(live, "good")
    try:
        assert orchestrator.wait(20) == 0
        assert live.of(AbortRequested)[0].manual_pid == mine.pid
        assert live.of(SwitchAborted)[0].manual
        assert live.ask("/stand_in/environ")["pid"] == mine.pid
        assert not (live.metadata / ".switch.lock").exists()
    finally:
        mine.kill()
        mine.wait()


def test_the_panel_needs_nothing_but_aiohttp(panel_workspace, by_hand):
    live = panel_workspace(good=None)
    source = by_hand(live, "good")
    loaded = {
        Path(line.split()[-1]) for line in Path(f"/proc/{source.pid}/maps").read_text().splitlines() if "/" in line
    }
    assert not [path for path in loaded if "psutil" in str(path)]
    python = live.root / "environments" / "good" / ".venv/bin/python"
    code = (
        "import importlib.util as i; print([n for n in ('journal', 'orchestrator', 'projections') if i.find_spec(n)])"
    )
    done = subprocess.run([str(python), "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
