"""The stand-in ComfyUI behaves, and misbehaves, as the real one was seen to."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from comfyui_stand_in.environment import DEADLINE_S, StandInEnvironment, until
from comfyui_stand_in.install import give_orders
from comfyui_stand_in.misbehaviour import KEYS, MisbehaviourError

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "tools" / "comfyui_stand_in" / "README.md"
MARKING_NODE = "from pathlib import Path; Path('loaded').touch()"
ROUTED_NODE = """
from aiohttp import web
from server import PromptServer

@PromptServer.instance.routes.get("/of_a_node")
async def answer(request):
    return web.json_response({"node": True})
"""

Orders = Mapping[str, object]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[StandInEnvironment]:
    with closing(StandInEnvironment(tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInEnvironment]:
    """One stand-in that serves for all tests that do not end it."""
    with closing(StandInEnvironment(tmp_path_factory.mktemp("served"))) as made:
        made.add_node("broken.py", "raise RuntimeError('a broken node')")
        made.add_node("routed/__init__.py", ROUTED_NODE)
        made.serve(COMFYGIT_SUPERVISED="1")
        yield made


@pytest.fixture
def server(served: StandInEnvironment) -> Iterator[StandInEnvironment]:
    """Give the serving stand-in, in good health before and after."""
    yield served
    served.ask("/stand_in/misbehave", {})


def test_system_stats_have_the_shape_of_the_real_ones(server: StandInEnvironment) -> None:
    status, stats = server.ask("/system_stats")
    assert status == 200
    assert stats["system"]["os"] == os.name
    assert stats["system"]["python_version"].startswith("3.")
    assert stats["system"]["argv"] == ["main.py", "--cpu", f"--port={server.port}"]
    assert stats["devices"][0]["type"] == "cpu"


def test_it_runs_in_its_own_folder_by_its_own_python(server: StandInEnvironment) -> None:
    _, told = server.ask("/stand_in/environ")
    assert told["pid"] == server.lives[0].pid
    assert told["cwd"] == str(server.comfyui)
    assert told["executable"] == str(server.python)
    assert told["environ"] == {"COMFYGIT_SUPERVISED": "1"}


def test_a_broken_custom_node_is_not_fatal(server: StandInEnvironment) -> None:
    assert "RuntimeError: a broken node" in server.text()
    assert "(IMPORT FAILED)" in server.text()


@pytest.mark.parametrize("path", ["/of_a_node", "/api/of_a_node"])
def test_a_custom_node_can_add_a_route(server: StandInEnvironment, path: str) -> None:
    assert server.ask(path) == (200, {"node": True})


def test_a_prompt_runs_and_is_history(server: StandInEnvironment) -> None:
    prompt = {"1": {"class_type": "Any", "inputs": {}}}
    body = {"prompt": prompt, "prompt_id": "mine", "extra_data": {"stand_in_s": 0.01}}
    status, answer = server.ask("/prompt", body)
    assert status == 200
    assert (answer["prompt_id"], answer["node_errors"]) == ("mine", {})
    until(lambda: server.ask("/history/mine")[1], "history of the prompt")
    history = server.ask("/history")[1]
    assert history["mine"]["status"]["status_str"] == "success"
    assert history["mine"]["prompt"][2] == prompt


def test_a_running_prompt_can_be_interrupted(server: StandInEnvironment) -> None:
    long = {"prompt": {"1": {}}, "prompt_id": "long", "extra_data": {"stand_in_s": 60}}
    server.ask("/prompt", long)
    server.ask("/prompt", {**long, "prompt_id": "waits"})
    until(lambda: server.ask("/queue")[1]["queue_running"], "a running prompt")
    queue = server.ask("/queue")[1]
    assert [item[1] for item in queue["queue_running"]] == ["long"]
    assert [item[1] for item in queue["queue_pending"]] == ["waits"]
    server.ask("/queue", {"delete": ["waits"]})
    server.ask("/interrupt", {})
    until(lambda: server.ask("/history/long")[1], "history of the prompt")
    assert server.ask("/queue")[1] == {"queue_running": [], "queue_pending": []}
    assert server.ask("/history/long")[1]["long"]["status"]["completed"] is False


def test_a_request_without_a_prompt_is_refused(server: StandInEnvironment) -> None:
    nothing, empty = server.ask("/prompt", {}), server.ask("/prompt", {"prompt": {}})
    assert (nothing[0], nothing[1]["error"]["type"]) == (400, "no_prompt")
    assert (empty[0], empty[1]["error"]["type"]) == (400, "prompt_no_outputs")


def test_the_websocket_tells_its_status_first(server: StandInEnvironment) -> None:
    async def first_message() -> dict[str, Any]:
        url = f"http://127.0.0.1:{server.port}/ws?clientId=me"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            message: dict[str, Any] = await ws.receive_json(timeout=DEADLINE_S)
            return message

    message = asyncio.run(first_message())
    assert message["type"] == "status"
    assert message["data"]["sid"] == "me"
    assert message["data"]["status"] == {"exec_info": {"queue_remaining": 0}}


@pytest.mark.parametrize(
    ("orders", "statuses"),
    [
        ({"status": 500}, [500, 500]),
        ({"wrong_body": True}, [200, 200]),
        ({"flapping": True}, [200, 500]),
    ],
)
def test_spoiled_stats(server: StandInEnvironment, orders: Orders, statuses: list[int]) -> None:
    server.ask("/stand_in/misbehave", orders)
    answers = [server.ask("/system_stats") for _ in statuses]
    assert sorted(status for status, _ in answers) == statuses
    assert all("system" not in body for status, body in answers if "wrong_body" in orders)
    assert server.ask("/queue")[0] == 200


@pytest.mark.parametrize("orders", [{"mute": True}, {"slow_s": 60.0}])
def test_an_answer_that_does_not_come(server: StandInEnvironment, orders: Orders) -> None:
    server.ask("/stand_in/misbehave", orders)
    assert server.listens()
    with pytest.raises(TimeoutError):
        server.ask("/system_stats", timeout_s=0.05)


def test_unknown_orders_are_named(server: StandInEnvironment) -> None:
    status, answer = server.ask("/stand_in/misbehave", {"typo_s": 1, "mute": True})
    assert status == 400
    assert "unknown keys: typo_s;" in answer["error"]
    assert server.ask("/system_stats")[0] == 200


def test_a_second_process_deletes_the_temp_folder_of_the_first(
    server: StandInEnvironment,
) -> None:
    temp = server.comfyui / "temp"
    temp.mkdir(exist_ok=True)
    assert server.start_and_end("--quick-test-for-ci") == 0
    assert not temp.exists()


def test_sigint_ends_it_with_0_after_a_mute_while(environment: StandInEnvironment) -> None:
    give_orders(environment.comfyui, {"stop_delay_s": 0.2})
    life = environment.serve()
    assert (environment.comfyui / "temp").is_dir()
    life.send_signal(signal.SIGINT)
    environment.until_it_prints("Stopped server")
    with pytest.raises(TimeoutError):
        environment.ask("/system_stats", timeout_s=0.05)
    assert life.wait(DEADLINE_S) == 0
    assert not (environment.comfyui / "temp").exists()
    assert "Starting server\n\nTo see the GUI go to: http://127" in environment.text()


def test_sigterm_kills_it_without_cleaning_up(environment: StandInEnvironment) -> None:
    life = environment.serve()
    life.terminate()
    assert life.wait(DEADLINE_S) == -signal.SIGTERM
    assert (environment.comfyui / "temp").is_dir()


def test_sigint_while_starting_kills_it(environment: StandInEnvironment) -> None:
    give_orders(environment.comfyui, {"start_delay_s": 60})
    life = environment.start()
    environment.until_it_prints("Python version")
    life.send_signal(signal.SIGINT)
    assert life.wait(DEADLINE_S) == -signal.SIGINT
    assert "KeyboardInterrupt" in environment.text()


def test_it_leaves_with_the_code_that_is_asked_for(environment: StandInEnvironment) -> None:
    life = environment.serve()
    assert environment.ask("/stand_in/exit", {"code": 42})[0] == 200
    assert life.wait(DEADLINE_S) == 42


def test_a_taken_port_is_noticed_after_everything_is_loaded(
    environment: StandInEnvironment,
) -> None:
    environment.add_node("marking.py", MARKING_NODE)
    with closing(socket.create_server(("127.0.0.1", environment.port))):
        assert environment.start_and_end() == 1
    assert (environment.comfyui / "loaded").exists()
    assert "address already in use" in environment.text()


def test_a_custom_node_can_end_it(tmp_path: Path) -> None:
    with closing(StandInEnvironment(tmp_path / "a")) as one, closing(StandInEnvironment(tmp_path / "b")) as other:
        one.add_node("leaving.py", "import sys; sys.exit(7)")
        other.add_node("leaving.py", "import os; os._exit(43)")
        lives = [one.start(), other.start()]
        assert [life.wait(DEADLINE_S) for life in lives] == [7, 43]


def test_each_start_has_its_own_orders_and_the_last_repeat(
    environment: StandInEnvironment,
) -> None:
    starts: list[Orders] = [
        {"die_at_start": 3, "die_message": "no luck", "die_delay_s": 0.01},
        {"import_error": "no_such_module"},
        {"die_at_start": -signal.SIGKILL},
    ]
    give_orders(environment.comfyui, {"starts": starts})
    codes = [environment.start_and_end() for _ in range(4)]
    assert codes == [3, 1, -signal.SIGKILL, -signal.SIGKILL]
    assert "no luck\n" in environment.text()
    assert "ModuleNotFoundError: No module named 'no_such_module'" in environment.text()
    noted = (environment.comfyui / "starts.jsonl").read_text(encoding="utf-8")
    pids = [json.loads(line)["pid"] for line in noted.splitlines()]
    assert pids == [life.pid for life in environment.lives]


def test_it_can_die_or_leave_after_opening_its_port(tmp_path: Path) -> None:
    dying, leaving = {"open_then_die_s": 0.01}, {"exit_after_s": 0.01, "exit_code": 42}
    with (
        closing(StandInEnvironment(tmp_path / "a", dying)) as one,
        closing(StandInEnvironment(tmp_path / "b", leaving)) as other,
    ):
        lives = [one.start(), other.start()]
        assert [life.wait(DEADLINE_S) for life in lives] == [1, 42]
        assert "To see the GUI" in one.text()
        assert "To see the GUI" in other.text()


def test_it_can_hang_and_ignore_signals(environment: StandInEnvironment) -> None:
    orders = {"hang": True, "ignore_sigterm": True, "ignore_sigint": True}
    give_orders(environment.comfyui, orders)
    environment.add_node("marking.py", MARKING_NODE)
    life = environment.start()
    until((environment.comfyui / "loaded").exists, "a loaded node")
    for number in (signal.SIGTERM, signal.SIGINT):
        life.send_signal(number)
        environment.until_it_prints(f"ignores {number.name}")
    assert life.poll() is None
    assert not environment.listens()


def test_it_can_flood_its_output(environment: StandInEnvironment) -> None:
    orders = {"flood": 10_000_003, "flood_line_bytes": 10_000_000, "non_utf8": True}
    give_orders(environment.comfyui, {**orders, "die_at_start": 0})
    assert environment.start_and_end() == 0
    first, long, rest, *_ = environment.output.read_bytes().split(b"\n")
    assert (len(long) + 1, len(rest) + 1) == (10_000_000, 3)
    with pytest.raises(UnicodeDecodeError):
        first.decode()


def test_it_prints_what_it_is_told_to_while_it_serves(environment: StandInEnvironment) -> None:
    environment.serve()
    orders = {"flood": 100, "flood_line_bytes": 50, "non_utf8": True}
    assert environment.ask("/stand_in/print", orders) == (200, {"printed": 100})
    assert b"\xff\xfe\x80 \xc3\n" + (b"x" * 49 + b"\n") * 2 in environment.output.read_bytes()
    assert environment.ask("/stand_in/print", {"floood": 1})[0] == 400


@pytest.mark.parametrize("key", ["fork_session", "double_fork"])
def test_it_can_leave_a_process_in_another_session(environment: StandInEnvironment, key: str) -> None:
    give_orders(environment.comfyui, {key: True, "die_at_start": 5})
    assert environment.start_and_end() == 5
    left = psutil.Process(int((environment.comfyui / "fork_session.pid").read_text()))
    try:
        assert os.getsid(left.pid) == left.pid
    finally:
        left.kill()


def test_wrong_orders_are_refused_at_once(environment: StandInEnvironment) -> None:
    with pytest.raises(MisbehaviourError, match="unknown keys: typo_s;"):
        give_orders(environment.comfyui, {"typo_s": 1})
    with pytest.raises(MisbehaviourError, match="status is 'high'"):
        give_orders(environment.comfyui, {"starts": [{"status": "high"}]})
    file = environment.comfyui / "misbehave.json"
    file.write_text('{"typo_s": 1}', encoding="utf-8")
    assert environment.start_and_end() == 78
    assert "unknown keys: typo_s;" in environment.text()


def test_the_readme_names_every_order() -> None:
    table = README.read_text(encoding="utf-8")
    assert [key for key in KEYS if f"| `{key}` |" not in table] == []
