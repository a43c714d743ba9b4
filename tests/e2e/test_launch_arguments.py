"""What ComfyUI is started with, by the torch of its environment, the settings and the command line; and how that is told."""

import json
import signal
import sys

import pytest

from journal.events import OrchestratorStarted, ProcessAdopted, ProcessIntended
from tests.helpers.panels import call
from tests.helpers.public_panel import install_public_panel

CPU_BUILD = "__version__ = '2.9.1+cpu'\ncuda = None\nhip = None\nrocm = None\nxpu = None\n"
CUDA_BUILD = CPU_BUILD.replace("+cpu", "").replace("cuda = None", "cuda = '13.0'")
ADDED = "--cpu was added: torch 2.9.1+cpu of the environment is a CPU build"
NO_TORCH = "no torch was found in the environment; --cpu was not added"


def give_torch(live, name, content):
    (site_packages,) = (live.comfyui(name).parent / ".venv" / "lib").glob("python*/site-packages")
    (site_packages / "torch").mkdir(exist_ok=True)
    (site_packages / "torch" / "version.py").write_text(content)


def extra_arguments(live, *arguments):
    path = live.metadata / "orchestrator_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"comfyui": {"extra_args": arguments}}))


def passed(live, name):
    """The arguments of each start of that environment, as the process got them."""
    return [start["argv"][1:] for start in live.starts(name)]


@pytest.mark.scenario("B-37")
def test_the_flag_follows_the_torch_of_the_environment_that_is_started(workspace):
    live = workspace(cpu=None, cuda=None, none=None)
    give_torch(live, "cpu", CPU_BUILD)
    give_torch(live, "cuda", CUDA_BUILD)
    port = ["--port", str(live.port)]
    live.serve("cpu")
    startup = json.loads((live.metadata / ".startup_state.json").read_text())
    assert startup["argv"] == ["main.py", "--cpu", *port]
    live.switch("cuda")
    assert live.switch("none").serving == "none"
    assert live.switch("cpu").serving == "cpu"
    assert passed(live, "cpu") == [["--cpu", *port]] * 2
    assert passed(live, "cuda") == passed(live, "none") == [port]
    assert [start.notes for start in live.of(ProcessIntended)] == [(ADDED,), (), (NO_TORCH,), (ADDED,)]
    assert {start.port for start in live.of(ProcessIntended)} == {live.port}


@pytest.mark.scenario("B-37")
def test_the_note_is_in_the_log_in_that_of_the_switch_and_in_its_story(workspace):
    live = workspace(cpu=None, none=None)
    give_torch(live, "cpu", CPU_BUILD)
    live.serve("none")
    assert live.log().count(NO_TORCH) == 1
    live.switch("cpu")
    (line,) = [one for one in (live.metadata / "supervisor-switch.log").read_text().splitlines() if ADDED in one]
    assert json.loads(line)["level"] == "info"
    assert live.log().count(ADDED) == 1
    told = " ".join(live.cli("explain", tool="journal").stdout.split())
    assert f"cpu (start {live.state().main}): {ADDED}" in told
    (start,) = json.loads(live.cli("explain", "--json", tool="journal").stdout)["starts"]
    assert start["notes"] == [ADDED]


@pytest.mark.scenario("B-37")
def test_what_settings_or_command_line_choose_stands_and_the_later_wins(workspace):
    live = workspace(good=None)
    give_torch(live, "good", CPU_BUILD)
    extra_arguments(live, "--preview-size", "256")
    live.serve("good", "--preview-size", "512")
    after = ["--port", str(live.port), "--preview-size", "512"]
    extra_arguments(live, "--lowv")
    live.command(command="restart")
    live.until(lambda state: state.serving == "good" and len(live.starts("good")) == 2)
    assert passed(live, "good") == [["--cpu", "--preview-size", "256", *after], ["--lowv", *after]]
    assert [start.notes for start in live.of(ProcessIntended)] == [(ADDED,), ()]


@pytest.mark.scenario("B-37")
def test_a_device_named_on_the_command_line_stands(workspace):
    live = workspace(good=None)
    give_torch(live, "good", CPU_BUILD)
    live.serve("good", "--directml")
    assert passed(live, "good") == [["--port", str(live.port), "--directml"]]
    assert live.of(ProcessIntended)[0].notes == ()


@pytest.mark.slow
@pytest.mark.scenario("B-37")
def test_what_was_added_for_one_environment_is_not_handed_on_to_another_by_its_page(workspace):
    live = workspace(cpu=None, cuda=None)
    give_torch(live, "cpu", CPU_BUILD)
    give_torch(live, "cuda", CUDA_BUILD)
    extra_arguments(live, "--fast")
    install_public_panel(live, sys.executable, "cpu", "cuda", calls=True)
    first = live.serve("cpu")
    first.send_signal(signal.SIGKILL)
    first.wait()
    url = f"http://127.0.0.1:{live.port}/v2/comfygit/switch_environment"
    assert call(url, {"target_env": "cuda"})[0] == 200
    assert live.until_over().serving == "cuda"
    assert len(live.of(ProcessAdopted)) == 1
    assert live.of(OrchestratorStarted)[1].arguments is None  # as the journal says
    port = ["--port", str(live.port)]
    assert passed(live, "cpu") == [["--cpu", "--fast", *port]]
    assert passed(live, "cuda") == [["--fast", *port]]
