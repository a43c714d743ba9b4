"""What `orchestrator_config.json` may say, and what happens to all else."""

import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config import SETTINGS, Config, ConfigUnreadable, parse_config

KEYS = [setting.key for setting in SETTINGS]
MAY_BE_NULL = {"orchestrator.control_port", "orchestrator.public_origin"}
SECONDS = [setting.key for setting in SETTINGS if setting.key.endswith("_s")]


def document(key: str, value: object) -> str:
    section, _, name = key.partition(".")
    return json.dumps({section: {name: value}})


def parsed_value(key: str, value: object) -> object:
    """The value as Config holds it; there must be no problem."""
    config, problems = parse_config(document(key, value))
    assert problems == ()
    return getattr(config, key.partition(".")[2])


def only_problem(text: str) -> str:
    config, [problem] = parse_config(text)
    assert config == Config()
    return problem


def test_an_empty_object_is_all_defaults():
    assert parse_config("{}") == (Config(), ())


def test_every_field_has_exactly_one_setting():
    assert sorted(setting.field for setting in SETTINGS) == sorted(field.name for field in attrs.fields(Config))


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_default_is_allowed_and_stays_what_it_is(setting):
    default = getattr(Config(), setting.field)
    value = parsed_value(setting.key, json.loads(json.dumps(default)))
    assert value == default
    assert type(value) is type(default)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_says_what_it_is_for_and_what_is_allowed(setting):
    assert setting.help
    assert setting.check.allowed


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_names_key_value_and_what_is_allowed(key):
    problem = only_problem(document(key, {"no": "sense"}))
    assert problem.startswith(f"{key} is {{'no': 'sense'}}; allowed is ")
    assert "the default" in problem


@pytest.mark.parametrize("key", [key for key in KEYS if key != "orchestrator.enable_control_server"])
def test_a_bool_is_no_number_and_no_text(key):
    assert f"{key} is true" in only_problem(document(key, True))


@pytest.mark.parametrize("key", [key for key in KEYS if key not in MAY_BE_NULL])
def test_null_is_a_value_only_where_it_means_something(key):
    assert f"{key} is null" in only_problem(document(key, None))


@pytest.mark.parametrize("key", SECONDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, 1e300, 10**400, "60"])
def test_seconds_are_finite_numbers_in_range(key, value):
    assert f"{key} is " in only_problem(document(key, value))


def test_whole_seconds_become_floats():
    value = parsed_value("orchestrator.sync_timeout_s", 5)
    assert (value, type(value)) == (5.0, float)


@pytest.mark.parametrize("value", [3.0, "3", -1, 101])
def test_a_count_is_an_integer_in_range(value):
    assert "an integer from 0 to 100" in only_problem(document("orchestrator.crash_retry_max", value))


@pytest.mark.parametrize(
    "value", [[5050], [5050, 5060, 5070], [5100, 5050], [0, 10], [1, 70_000], [True, 2], "5050-5100"]
)
def test_a_port_range_is_two_ports_in_order(value):
    assert "two ports" in only_problem(document("orchestrator.control_port_range", value))


def test_a_port_range_may_be_one_port():
    assert parsed_value("orchestrator.control_port_range", [6000, 6000]) == (6000, 6000)


def test_the_control_port_may_be_set():
    assert parsed_value("orchestrator.control_port", 5051) == 5051


def test_an_origin_is_kept_as_browsers_write_it():
    assert parsed_value("orchestrator.public_origin", "HTTPS://Comfy.example.org:443/") == "https://comfy.example.org"


@pytest.mark.parametrize(
    "value", ["", "comfy.example.org", "https://a.b/panel", "ftp://a.b", "null", 7, ["https://a.b"]]
)
def test_what_is_no_origin_publishes_nothing(value):
    problem = only_problem(document("orchestrator.public_origin", value))
    assert problem.endswith(
        "an http or https origin such as https://comfy.example.org, or null; the default null is used"
    )


def test_the_public_wildcard_host_is_accepted_with_one_notice_and_not_used():
    config, [notice] = parse_config(document("orchestrator.control_host", "0.0.0.0"))
    assert config.control_host == "127.0.0.1"
    assert 'control_host is "0.0.0.0"; the control server is bound to 127.0.0.1' in notice


@pytest.mark.parametrize("host", ["192.168.1.5", "::", "example.org", ""])
def test_no_other_control_host_is_accepted(host):
    assert "control_host" in only_problem(document("orchestrator.control_host", host))


def test_words_may_be_written_in_any_case():
    assert parsed_value("orchestrator.log_level", "DEBUG") == "debug"


@pytest.mark.parametrize("value", ["--cpu", [1], ["a\0b"], ["\ud800"], {"--cpu": ""}])
def test_arguments_are_a_list_of_texts_that_a_process_can_be_given(value):
    assert "extra_args" in only_problem(document("comfyui.extra_args", value))


def test_arguments_keep_their_order_and_bytes():
    assert parsed_value("comfyui.extra_args", ["--cpu", "ä b", ""]) == ("--cpu", "ä b", "")


@pytest.mark.parametrize("value", ["", "-x", "a b", "a\nb"])
def test_a_host_is_no_option_and_has_no_spaces(value):
    assert "default_host" in only_problem(document("comfyui.default_host", value))


def test_one_wrong_value_costs_no_other():
    text = '{"orchestrator": {"crash_retry_max": "x", "probation_s": 5}, "comfyui": {"default_port": 9000}}'
    config, problems = parse_config(text)
    assert (config.crash_retry_max, config.probation_s, config.default_port) == (3, 5.0, 9000)
    assert len(problems) == 1


def test_unknown_keys_and_sections_are_warned_about():
    _, problems = parse_config('{"orchestrator": {"crash_retries": 3}, "comfy": {}}')
    assert [problem.split(" is ")[0] for problem in problems] == ['"orchestrator.crash_retries"', '"comfy"']


def test_a_section_that_is_no_object_is_a_problem():
    assert only_problem('{"orchestrator": []}').startswith("orchestrator is []; allowed is an object")


def test_what_the_public_panel_writes_is_taken_without_a_word():
    public = {
        "version": "1.0",
        "orchestrator": {"control_port": 5050, "control_port_range": [5050, 5100], "health_check_timeout_s": 180},
        "comfyui": {"default_port": 8188, "extra_args": ["--cpu"]},
        "frontend": {"emergency_threshold_normal_s": 10},
    }
    config, problems = parse_config(json.dumps(public))
    assert problems == ()
    assert config == attrs.evolve(Config(), control_port=5050, extra_args=("--cpu",))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"a": ', "\0", "[" * 100_000])
def test_an_unreadable_whole_is_an_error_with_a_hint(text):
    with pytest.raises(ConfigUnreadable) as caught:
        parse_config(text)
    assert caught.value.hint


@pytest.mark.parametrize("value", ["x" * 10_000, "\x1b[2J\n", [[[[[[[[1] * 50] * 50]]]]]], {"a": "b" * 500}])
def test_a_problem_is_one_short_printable_line(value):
    problem = only_problem(document("orchestrator.log_level", value))
    assert len(problem) < 300
    assert problem.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(key=st.sampled_from(KEYS), value=json_values)
def test_any_value_gives_a_configuration_that_passes_its_own_checks(key, value):
    config, problems = parse_config(document(key, value))
    assert len(problems) <= 1
    for setting in SETTINGS:
        held = json.loads(json.dumps(getattr(config, setting.field)))
        assert setting.check.convert(held) == getattr(config, setting.field)


@given(st.text())
def test_any_text_is_parsed_or_unreadable(text):
    try:
        config, _ = parse_config(text)
    except ConfigUnreadable:
        return
    assert isinstance(config, Config)
