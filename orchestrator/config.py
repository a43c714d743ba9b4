"""The settings of `orchestrator_config.json`: what they may be, what they are by default, and how a text becomes them.

A wrong value costs nothing but itself: its default is used, and the problem says so. Every field of `Config` has one
row in `SETTINGS`, of the same name.
"""

import functools
import json
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from orchestrator.errors import OrchestratorError
from orchestrator.origins import origin_of

_SHOWN_CHARACTERS = 80
_DAY_S = 86_400.0
_HOUR_S = 3_600.0
_PASSED_OVER: Final = frozenset({"version", "frontend"})
"""Top-level keys of the public panel that mean nothing to us."""


class ConfigUnreadable(OrchestratorError):  # noqa: N818 -- says what is the matter, as the caller keeps what it had
    """The text as a whole is no configuration (half written, or no JSON object): keep the last good one."""


@attrs.frozen
class Config:
    """One value per setting, checked. `_s` fields are seconds; `SETTINGS` says what each is for."""

    control_port_range: tuple[int, int] = (5050, 5100)
    control_port: int | None = None
    control_host: str = "127.0.0.1"
    enable_control_server: bool = True
    public_origin: str | None = None
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    health_check_timeout_s: float = 180.0
    sync_timeout_s: float = 600.0
    crash_retry_max: int = 3
    crash_retry_delay_s: float = 10.0
    default_port: int = 8188
    default_host: str = "127.0.0.1"
    extra_args: tuple[str, ...] = ()
    probe_interval_s: float = 0.5
    probe_timeout_s: float = 2.0
    required_successes: int = 3
    probation_s: float = 60.0
    stop_timeout_s: float = 10.0
    lock_timeout_s: float = 300.0
    status_linger_s: float = 10.0
    on_orchestrator_death: Literal["adopt", "terminate"] = "adopt"
    handover: Literal["auto", "warm", "cold"] = "auto"
    drain_timeout_s: float = 30.0
    preflight_timeout_s: float = 30.0
    port_free_timeout_s: float = 30.0
    source_grace_s: float = 5.0
    source_linger_s: float = 30.0
    calm_after_s: float = 60.0
    liveness_interval_s: float = 15.0


@attrs.frozen
class Check:
    """What a value may be. `convert` gives Config's value for the one from JSON; ValueError for what is not allowed."""

    allowed: str
    convert: Callable[[object], object]


@attrs.frozen
class Setting:
    """One key of the file. `notices`: what to say about a value that is accepted but not taken at its word."""

    key: str
    check: Check
    help: str
    notices: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def field(self) -> str:
        """The name of its field in Config: the key without its section."""
        return self.key.partition(".")[2]


def _integer(low: int, high: int) -> Check:
    def convert(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Check(f"an integer from {low} to {high}", convert)


def _duration_s(low: float, high: float) -> Check:
    def convert(value: object) -> float:
        # The comparison is also what keeps NaN and the infinities out.
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Check(f"a number of seconds from {low:g} to {high:g}", convert)


def _origin() -> Check:
    def convert(value: object) -> str:
        if not isinstance(value, str) or not origin_of(value):
            raise ValueError
        return origin_of(value)

    return Check("an http or https origin such as https://comfy.example.org", convert)


def _flag() -> Check:
    def convert(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError  # noqa: TRY004 -- callers tell one thing apart: allowed or not
        return value

    return Check("true or false", convert)


def _one_of(choices: Mapping[str, str] | Sequence[str]) -> Check:
    """One of these words, in any case; a mapping says what each stands for."""
    meanings = choices if isinstance(choices, Mapping) else {choice: choice for choice in choices}

    def convert(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in meanings:
            raise ValueError
        return meanings[value.lower()]

    return Check("one of " + ", ".join(json.dumps(choice) for choice in meanings), convert)


def _or_null(check: Check) -> Check:
    return Check(f"{check.allowed}, or null", lambda value: None if value is None else check.convert(value))


def _argument(value: object) -> str:
    """A text that can be given to a process: no NUL, nothing that has no UTF-8 form."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode("utf-8")  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    return value


def _arguments() -> Check:
    def convert(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004
        return tuple(_argument(one) for one in value)

    return Check("a list of strings without NUL", convert)


def _host() -> Check:
    def convert(value: object) -> str:
        text = _argument(value)
        if not text or text.startswith("-") or not text.isprintable() or " " in text:
            raise ValueError
        return text

    return Check("an address, a host name, or several separated by commas", convert)


def _port_range() -> Check:
    port = _integer(1, 65_535)

    def convert(value: object) -> tuple[object, object]:
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004
        first, last = (port.convert(one) for one in value)
        if value != sorted(value):
            raise ValueError
        return first, last

    return Check("a list of two ports from 1 to 65535, the lower one first", convert)


_LOOPBACK: Final = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1"}  # noqa: S104 -- not bound

SETTINGS: Final = (
    Setting("orchestrator.control_port_range", _port_range(), "ports tried for the control server, both ends included"),
    Setting("orchestrator.control_port", _or_null(_integer(1, 65_535)), "the control server's port; null: the range"),
    Setting(
        "orchestrator.control_host",
        _one_of(_LOOPBACK),
        "the control server's address; always this machine's own",
        {"0.0.0.0": "the control server is bound to 127.0.0.1 all the same"},  # noqa: S104
    ),
    Setting("orchestrator.enable_control_server", _flag(), "whether there is a control server"),
    Setting("orchestrator.public_origin", _or_null(_origin()), "where a reverse proxy publishes the control server"),
    Setting(
        "orchestrator.log_level",
        _one_of(("debug", "info", "warning", "error", "critical")),
        "the least severe messages in orchestrator.log",
    ),
    Setting("orchestrator.health_check_timeout_s", _duration_s(0.1, _DAY_S), "how long ComfyUI may take to be ready"),
    Setting("orchestrator.sync_timeout_s", _duration_s(0.1, _DAY_S), "how long a sync may take"),
    Setting("orchestrator.crash_retry_max", _integer(0, 100), "starts after a crash before going back; 0: none"),
    Setting("orchestrator.crash_retry_delay_s", _duration_s(0, _HOUR_S), "the longest wait before such a start"),
    Setting("comfyui.default_port", _integer(1, 65_535), "ComfyUI's port where its arguments name none"),
    Setting("comfyui.default_host", _host(), "ComfyUI's address where its arguments name none"),
    Setting("comfyui.extra_args", _arguments(), "arguments for every ComfyUI, before the ones given at the start"),
    Setting("orchestrator.probe_interval_s", _duration_s(0.01, 60), "from one health probe to the next"),
    Setting("orchestrator.probe_timeout_s", _duration_s(0.01, 60), "how long one probe waits for its answer"),
    Setting("orchestrator.required_successes", _integer(1, 100), "good probes in a row that make it healthy"),
    Setting("orchestrator.probation_s", _duration_s(0, _DAY_S), "how long a crash after a switch still undoes it"),
    Setting("orchestrator.stop_timeout_s", _duration_s(0, _HOUR_S), "from the first stop signal to the next"),
    Setting("orchestrator.lock_timeout_s", _duration_s(1, _DAY_S), "age at which a lock file of others is taken over"),
    Setting("orchestrator.status_linger_s", _duration_s(0, _HOUR_S), "how long the outcome of a switch is shown"),
    Setting(
        "orchestrator.on_orchestrator_death",
        _one_of(("adopt", "terminate")),
        "what becomes of ComfyUI when its supervisor dies",
        {"terminate": "this release does not act on it yet: ComfyUI lives on, and the next supervisor adopts it"},
    ),
    Setting(
        "orchestrator.handover",
        _one_of(("auto", "warm", "cold")),
        "whether the target is loaded while the old environment still serves",
        {"warm": "this release does not act on it yet: the old environment is stopped first"},
    ),
    Setting("orchestrator.drain_timeout_s", _duration_s(0, _HOUR_S), "how long a running prompt is waited for"),
    Setting("orchestrator.preflight_timeout_s", _duration_s(0.1, _HOUR_S), "how long looking at a target may take"),
    Setting("orchestrator.port_free_timeout_s", _duration_s(0, _HOUR_S), "how long a taken port is waited for"),
    Setting("orchestrator.source_grace_s", _duration_s(0, _HOUR_S), "from a request until a foreign source is stopped"),
    Setting("orchestrator.source_linger_s", _duration_s(0, _HOUR_S), "how long a foreign source is kept after that"),
    Setting("orchestrator.calm_after_s", _duration_s(0.1, _DAY_S), "healthy time after which crashes are forgotten"),
    Setting("orchestrator.liveness_interval_s", _duration_s(0.01, _DAY_S), "from one look at what serves to the next"),
)
"""Every key that is understood, with its check and what it is for."""

_BY_KEY: Final = {setting.key: setting for setting in SETTINGS}
_SECTIONS: Final = frozenset(key.partition(".")[0] for key in _BY_KEY)


def _shown(value: object) -> str:
    """Any value of a JSON document on one line, in at most 80 characters; nesting of any depth is cut."""
    text = reprlib.repr(value) if isinstance(value, list | dict) else json.dumps(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _document(text: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        message = f"reading the configuration: not valid JSON ({exc})"
        hint = "it may be half written; else correct it, or remove it for the defaults"
        raise ConfigUnreadable(message, hint) from exc
    if not isinstance(document, dict):
        message = f"reading the configuration: {_shown(document)} is no JSON object"
        hint = 'it looks like {"orchestrator": {...}, "comfyui": {...}}; correct it, or remove it for the defaults'
        raise ConfigUnreadable(message, hint)
    return document


def _entries(document: Mapping[str, object], problems: list[str]) -> Iterator[tuple[str, object]]:
    """Dotted keys and values of the sections that we know."""
    for section, content in document.items():
        if section in _PASSED_OVER:
            continue
        if section not in _SECTIONS:
            problems.append(f"{_shown(section)} is not a known section; it is ignored")
        elif not isinstance(content, dict):
            problems.append(f"{section} is {_shown(content)}; allowed is an object; its defaults are used")
        else:
            yield from ((f"{section}.{name}", value) for name, value in content.items())


@functools.lru_cache(maxsize=2)  # read before every step of the loop, and nearly always the same
def parse_config(text: str) -> tuple[Config, tuple[str, ...]]:
    """The settings in `text`, a JSON document, and what is wrong with it, one line each.

    A value that is not allowed is replaced by its default. Raises ConfigUnreadable when the whole cannot be read.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for key, value in _entries(_document(text), problems):
        setting = _BY_KEY.get(key)
        if setting is None:
            problems.append(f"{_shown(key)} is not a known setting; it is ignored")
            continue
        try:
            values[setting.field] = setting.check.convert(value)
        except ValueError:
            default = json.dumps(getattr(Config(), setting.field))
            allowed = setting.check.allowed
            problems.append(f"{key} is {_shown(value)}; allowed is {allowed}; the default {default} is used")
            continue
        if isinstance(value, str) and value in setting.notices:
            problems.append(f"{key} is {_shown(value)}; {setting.notices[value]}")
    return Config(**values), tuple(problems)
