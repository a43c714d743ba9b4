"""Where ComfyUI will answer, from the arguments it is started with."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import Config
from orchestrator.endpoint import Endpoint, endpoint_of, endpoint_problem, full_arguments, user_arguments


def url(*arguments: str) -> str:
    return endpoint_of(arguments, "127.0.0.1", 8188).url


@pytest.mark.scenario("HC-05")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "http://127.0.0.1:8188"),
        (("--port", "9000"), "http://127.0.0.1:9000"),
        (("--port=9000",), "http://127.0.0.1:9000"),
        (("--port", "1", "--cpu", "--port=9000"), "http://127.0.0.1:9000"),
        (("--port=9000", "--port", "9001"), "http://127.0.0.1:9001"),
        (("--listen",), "http://127.0.0.1:8188"),
        (("--listen", "--port", "9000"), "http://127.0.0.1:9000"),
        (("--listen", "192.168.1.5"), "http://192.168.1.5:8188"),
        (("--listen=host.example",), "http://host.example:8188"),
        (("--listen", "::1", "--port", "9000"), "http://[::1]:9000"),
        (("--listen", "fe80::1%eth0"), "http://[fe80::1%25eth0]:8188"),
        (("--listen", "::1", "--listen", "127.0.0.2"), "http://127.0.0.2:8188"),
    ],
)
def test_port_and_host_are_the_last_ones_named(arguments, expected):
    assert url(*arguments) == expected


@pytest.mark.scenario("B-32")
@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("0:0::0", "::1"),
        ("", "127.0.0.1"),
        ("0.0.0.0,::", "127.0.0.1"),
        ("::,0.0.0.0", "127.0.0.1"),
        ("192.168.1.5,127.0.0.1", "127.0.0.1"),
        ("192.168.1.5,127.0.0.2", "127.0.0.2"),
        ("192.168.1.5,::1", "::1"),
        ("192.168.1.5,10.0.0.1", "192.168.1.5"),
        ("10.0.0.1, localhost", "localhost"),
        ("::1,127.0.0.1", "127.0.0.1"),
    ],
)
def test_of_several_addresses_the_one_is_probed_that_this_machine_reaches(listen, host):
    assert endpoint_of(("--listen", listen), "127.0.0.1", 8188).host == host


@pytest.mark.scenario("B-32")
@pytest.mark.parametrize(
    ("arguments", "scheme"),
    [
        (("--tls-keyfile", "k.pem", "--tls-certfile", "c.pem"), "https"),
        (("--tls-k=k.pem", "--tls-c=c.pem"), "https"),
        (("--tls-keyfile", "k.pem"), "http"),
        (("--tls-certfile", "c.pem"), "http"),
        (("--tls-keyfile=", "--tls-certfile=c.pem"), "http"),
    ],
)
def test_https_needs_key_and_certificate(arguments, scheme):
    assert endpoint_of(arguments, "127.0.0.1", 8188).scheme == scheme


@pytest.mark.scenario("B-32")
@pytest.mark.parametrize(
    "arguments", [("--por", "9000", "--list", "::1"), ("--po=9000", "--li=::1"), ("--list=::1", "--por=9000")]
)
def test_options_may_be_abbreviated_as_argparse_allows(arguments):
    assert url(*arguments) == "http://[::1]:9000"


@pytest.mark.parametrize("ambiguous", ["--p", "--l", "--t", "--tls", "--lo"])
def test_an_ambiguous_abbreviation_is_refused_as_comfyui_does(ambiguous):
    arguments = (ambiguous, "9000", "--port=1")
    assert "ambiguous option" in endpoint_problem(arguments)
    assert url(*arguments) == "http://127.0.0.1:8188"


@pytest.mark.parametrize(
    "arguments",
    [("--port", "abc"), ("--port",), ("--port", "--cpu"), ("--port=70000",), ("--port", "0"), ("--port=-1",)],
)
def test_a_bad_port_is_said_and_gives_the_default(arguments, capfd):
    assert endpoint_problem(arguments)
    assert endpoint_of(arguments, "127.0.0.1", 8200).port == 8200
    assert capfd.readouterr() == ("", "")


def test_a_port_out_of_range_does_not_cost_the_host():
    assert url("--port=70000", "--listen=::1") == "http://[::1]:8188"


@pytest.mark.parametrize(
    "arguments",
    [("--cpu", "--fast", "a", "b"), ("--unknown", "--help"), ("-p", "9000"), ("--preview-size", "512"), ("--port 9",)],
)
def test_other_arguments_say_nothing_about_the_endpoint(arguments, capfd):
    assert endpoint_problem(arguments) == ""
    assert url(*arguments) == "http://127.0.0.1:8188"
    assert capfd.readouterr() == ("", "")


def test_the_given_defaults_are_used_and_made_reachable():
    assert endpoint_of((), "0.0.0.0", 9000) == Endpoint("127.0.0.1", 9000, "http")


words = st.sampled_from(["--port", "--listen", "--tls-keyfile", "--po", "--p", "=", "--", "-1", "9000", "::", ","])


@given(st.lists(st.one_of(words, st.text(), st.builds(lambda a, b: f"{a}={b}", words, st.text()))))
def test_whatever_the_arguments_there_is_an_endpoint(arguments):
    endpoint = endpoint_of(arguments, "127.0.0.1", 8188)
    assert endpoint.host
    assert 1 <= endpoint.port <= 65_535
    assert len(endpoint_problem(arguments)) <= 200


@pytest.mark.scenario("OL-14")
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], []),
        (["--workspace", "w", "--environment", "e"], []),
        (["--workspace", "w", "--args"], []),
        (["--workspace", "w", "--args", "--port", "9000", "--cpu"], ["--port", "9000", "--cpu"]),
        (["--args", "--enable-manager", "--cpu", "--enable-manager"], ["--cpu"]),
        (["--args", "a", "--args", "b"], ["a", "--args", "b"]),
    ],
)
def test_comfyui_gets_what_follows_args(argv, expected):
    assert user_arguments(argv) == expected


def configured(**changes: Any) -> Config:
    return attrs.evolve(Config(), **changes)


@pytest.mark.parametrize(
    ("config", "arguments", "expected"),
    [
        (configured(), (), ()),
        (configured(), ("--port", "8188"), ("--port", "8188")),
        (configured(default_port=9000), (), ("--port", "9000")),
        (configured(default_host="0.0.0.0"), (), ("--listen", "0.0.0.0")),
        (configured(default_port=9000), ("--po=9001",), ("--po=9001",)),
        (configured(default_host="::1"), ("--listen",), ("--listen",)),
        (configured(default_port=9000, extra_args=("--port", "1")), (), ("--port", "1")),
        (configured(default_port=9000, extra_args=("--cpu",)), ("--fast",), ("--port", "9000", "--cpu", "--fast")),
    ],
)
def test_the_configured_endpoint_is_there_only_where_nothing_else_names_one(config, arguments, expected):
    assert full_arguments(config, arguments) == expected


def test_the_users_arguments_win_over_the_configured_ones():
    config = configured(default_port=9000, extra_args=("--port", "9001", "--listen", "::1"))
    endpoint = endpoint_of(full_arguments(config, ("--port", "9002")), config.default_host, config.default_port)
    assert endpoint.url == "http://[::1]:9002"
