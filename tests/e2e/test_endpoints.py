"""Where ComfyUI is looked for, in every form in which its arguments can say it."""

import json
import ssl
import subprocess
import urllib.request

import pytest

from comfyui_stand_in.environment import free_port
from journal.events import ProcessIntended

LISTEN = {
    "127.0.0.2,127.0.0.1": "127.0.0.2",
    "0.0.0.0,::": "127.0.0.1",
    "::1": "[::1]",
    "": "127.0.0.1",
}
"""What is said after `--listen`, and where the probe goes then."""


@pytest.mark.scenario("B-32")
def test_every_form_of_listen_is_found_healthy(workspace):
    live = workspace(good=None)
    for start, (listen, host) in enumerate(LISTEN.items(), 1):
        extra_arguments(live, ["--listen", *([listen] if listen else [])])
        live.start("good") if start == 1 else live.command(command="restart")
        live.until(lambda state, start=start: state.serving == "good" and len(live.starts("good")) == start)
        assert live.of(ProcessIntended)[-1].url == f"http://{host}:{live.port}"


def extra_arguments(live, arguments):
    """Have every start from now on get these, as the settings of the public panel do."""
    path = live.metadata / "orchestrator_config.json"
    document = json.loads(path.read_text()) | {"comfyui": {"extra_args": arguments}}
    path.write_text(json.dumps(document))


@pytest.mark.scenario("B-32")
def test_with_a_key_and_a_certificate_it_is_asked_by_https_and_an_abbreviated_port_counts(workspace, tmp_path):
    live = workspace(good=None)
    other = free_port()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    command = [*make.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    live.serve("good", "--tls-keyfile", str(key), "--tls-cert", str(certificate), "--por", str(other))
    url = f"https://127.0.0.1:{other}"
    assert live.of(ProcessIntended)[0].url == url
    ours_only = ssl.create_default_context(cafile=certificate)
    with urllib.request.urlopen(f"{url}/system_stats", context=ours_only, timeout=5) as response:
        assert "system" in json.loads(response.read())
    assert json.loads((live.metadata / ".startup_state.json").read_text())["port"] == other
