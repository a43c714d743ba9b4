"""Where ComfyUI is looked for, in every form in which its arguments can say it."""

import json
import ssl
import subprocess
import urllib.request

import pytest

from comfyui_stand_in.environment import free_port
from journal.events import ProcessIntended


@pytest.mark.scenario("B-32")
@pytest.mark.parametrize(
    ("listen", "host"),
    [("127.0.0.2,127.0.0.1", "127.0.0.2"), ("0.0.0.0,::", "127.0.0.1"), ("::1", "[::1]"), ("", "127.0.0.1")],
    ids=["two addresses", "every address", "IPv6", "bare"],
)
def test_every_form_of_listen_is_found_healthy(workspace, listen, host):
    live = workspace(good=None)
    live.serve("good", "--listen", *([listen] if listen else []))
    assert live.of(ProcessIntended)[0].url == f"http://{host}:{live.port}"


@pytest.mark.scenario("B-32")
def test_an_abbreviated_port_that_comes_last_wins(workspace):
    live = workspace(good=None)
    other = free_port()
    live.serve("good", "--por", str(other))
    assert live.of(ProcessIntended)[0].url == f"http://127.0.0.1:{other}"
    assert live.ask("/system_stats", port=other)["system"]
    assert json.loads((live.metadata / ".startup_state.json").read_text())["port"] == other


@pytest.mark.scenario("B-32")
def test_with_a_key_and_a_certificate_it_is_asked_by_https(workspace, tmp_path):
    live = workspace(good=None)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    live.serve("good", "--tls-keyfile", str(key), "--tls-certfile", str(certificate))
    url = f"https://127.0.0.1:{live.port}"
    assert live.of(ProcessIntended)[0].url == url
    ours_only = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"{url}/system_stats", context=ours_only, timeout=5) as response:
        assert "system" in json.loads(response.read())


@pytest.mark.scenario("B-32")
def test_extra_arguments_and_the_configured_endpoint_count_where_the_command_line_says_nothing(workspace):
    live = workspace(good=None)
    document = json.loads((live.metadata / "orchestrator_config.json").read_text())
    document["comfyui"] = {"extra_args": ["--listen", "127.0.0.2"]}
    (live.metadata / "orchestrator_config.json").write_text(json.dumps(document))
    live.serve("good")
    assert live.of(ProcessIntended)[0].url == f"http://127.0.0.2:{live.port}"
    assert live.of(ProcessIntended)[0].command[2:4] == ("--listen", "127.0.0.2")
