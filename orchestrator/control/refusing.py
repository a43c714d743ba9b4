"""What the control server refuses, and why: pure, and decided before anything is asked of the orchestrator.

A web page that the user merely looks at can reach 127.0.0.1 too. It is told by its Origin, which a browser always sends
where it matters, and a name that was made to point here (DNS rebinding) is told by the Host.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import attrs

from orchestrator.origins import DEFAULT_PORTS, origin_of

MAX_BODY_BYTES: Final = 4096
"""The longest body of a request."""

HEALTH: Final = frozenset({"/health", "/v2/comfygit/supervisor/health"})
STATUS: Final = frozenset({"/status", "/v2/comfygit/switch_status"})
LOGS: Final = frozenset({"/logs", "/v2/comfygit/switch_logs"})
RESTART: Final = "/restart"
KILL: Final = "/kill"

READ_PATHS: Final = HEALTH | STATUS | LOGS
"""Answer GET and HEAD, and OPTIONS from a page that may read."""
ACTING_PATHS: Final = frozenset({RESTART, KILL})
"""Answer POST only."""
READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PATH = re.compile(r"/|(?:/[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_TARGET_CHARS = 1024
_ONCE = ("host", "origin", "content-type", "content-length", "content-encoding", "transfer-encoding", "expect")


@attrs.frozen
class Limits:
    """What one client may take. A connection ends after `connection_s`, whatever it is doing."""

    connection_s: float = 6.0
    body_s: float = 5.0
    connections: int = 64


@attrs.frozen
class Refusal:
    """An answer that is no: HTTP status, a code for programs, a sentence for people, the methods allowed (with 405)."""

    status: int
    error: str
    message: str
    allow: str = ""


@attrs.frozen
class _Asked:
    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    hosts: frozenset[str]
    origins: frozenset[str]

    def header(self, name: str) -> str:
        """The value of a header that may come once, "" without it."""
        return next(iter(self.headers.get(name, ())), "")


def refusal(
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]],
    *,
    port: int,
    comfyui_port: int,
    public_origin: str = "",
) -> Refusal | None:
    """Why a request is refused before its body is read; None when it is not.

    `target` is the request target as sent, `headers` every header in order, names in any case. `port` is ours,
    `public_origin` where a reverse proxy publishes us.
    """
    by_name: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        by_name[name.lower()] = (*by_name.get(name.lower(), ()), value.strip())
    hosts = frozenset(_with_port(port, DEFAULT_PORTS["http"])) | _published_host(method, public_origin)
    path = target.partition("?")[0] if len(target) <= _MAX_TARGET_CHARS else ""
    asked = _Asked(method, path, by_name, hosts, allowed_origins(comfyui_port, public_origin))
    return next((found for rule in _RULES if (found := rule(asked)) is not None), None)


def body_refusal(content_type: str, body: bytes) -> Refusal | None:
    """Why the body of a POST, all of it read, is refused. An empty one never is, whatever it is called."""
    if not body:
        return None
    if not _is_json(content_type):
        return _WRONG_TYPE
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return Refusal(HTTPStatus.BAD_REQUEST, "bad_body", "The body is not JSON.")
    if not isinstance(document, dict):
        return Refusal(HTTPStatus.BAD_REQUEST, "bad_body", "The body is not a JSON object.")
    return None


def allowed_origins(comfyui_port: int, public_origin: str = "") -> frozenset[str]:
    """The origins of pages that may read: ComfyUI's own on this machine, and the published one."""
    local = {f"{scheme}://{host}" for scheme, port in DEFAULT_PORTS.items() for host in _with_port(comfyui_port, port)}
    return frozenset(local | ({origin_of(public_origin)} - {""}))


def _published_host(method: str, public_origin: str) -> frozenset[str]:
    """The name that a reverse proxy may pass on, for reading only: who acts comes from this machine."""
    published = origin_of(public_origin).partition("://")[2]
    return frozenset({published} if published and method in READING_METHODS else ())


def _with_port(port: int, default: int) -> tuple[str, ...]:
    """This machine's names with `port`, which browsers leave out when it is the default."""
    return _LOOPBACK if port == default else tuple(f"{host}:{port}" for host in _LOOPBACK)


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


_WRONG_TYPE = Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wrong_type", "A body has to be application/json.")


def _bad_path(asked: _Asked) -> Refusal | None:
    if _PATH.fullmatch(asked.path):
        return None
    return Refusal(HTTPStatus.BAD_REQUEST, "bad_path", "A path here is absolute and plain.")


def _repeated_header(asked: _Asked) -> Refusal | None:
    name = next((name for name in _ONCE if len(asked.headers.get(name, ())) > 1), None)
    if name is None:
        return None
    return Refusal(HTTPStatus.BAD_REQUEST, "repeated_header", f"The header {name} may come once.")


def _foreign_host(asked: _Asked) -> Refusal | None:
    if asked.header("host").lower() in asked.hosts:
        return None
    return Refusal(HTTPStatus.FORBIDDEN, "foreign_host", "This server answers to its own address and port only.")


def _foreign_origin(asked: _Asked) -> Refusal | None:
    if asked.method not in READING_METHODS:
        if "origin" not in asked.headers and "sec-fetch-site" not in asked.headers:
            return None
        return Refusal(HTTPStatus.FORBIDDEN, "from_browser", "Only programs may ask for this, not web pages.")
    if "origin" not in asked.headers or asked.header("origin") in asked.origins:
        return None
    return Refusal(HTTPStatus.FORBIDDEN, "foreign_origin", "Only ComfyUI's own page may read this.")


def _no_route(asked: _Asked) -> Refusal | None:
    if asked.path in READ_PATHS:
        allow = "GET, HEAD, OPTIONS"
    elif asked.path in ACTING_PATHS:
        allow = "POST"
    else:
        return Refusal(HTTPStatus.NOT_FOUND, "not_found", "There is nothing under this path.")
    if asked.method in allow.split(", "):
        return None
    if asked.method == "OPTIONS":
        return Refusal(HTTPStatus.FORBIDDEN, "from_browser", "Only programs may ask for this, not web pages.")
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "wrong_method", f"Allowed here: {allow}.", allow)


def _bad_framing(asked: _Asked) -> Refusal | None:
    if "expect" in asked.headers:
        return Refusal(HTTPStatus.EXPECTATION_FAILED, "no_expectations", "Send the body without asking first.")
    if asked.header("content-encoding").lower() not in {"", "identity"}:
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wrong_encoding", "Send the body without compression.")
    length = asked.header("content-length")
    if length and not _LENGTH.fullmatch(length):
        return Refusal(HTTPStatus.BAD_REQUEST, "bad_length", "Content-Length is not a number of bytes.")
    length_bytes = int(length or "0")
    if length_bytes > MAX_BODY_BYTES:
        return too_big()
    announced = length_bytes > 0 or "transfer-encoding" in asked.headers
    if announced and asked.method in READING_METHODS:
        return Refusal(HTTPStatus.BAD_REQUEST, "unexpected_body", "A request that only reads has no body.")
    if length_bytes > 0 and not _is_json(asked.header("content-type")):
        return _WRONG_TYPE
    return None


def too_big() -> Refusal:
    """For a body above MAX_BODY_BYTES, announced or found."""
    message = f"A body has at most {MAX_BODY_BYTES:,} bytes."
    return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", message)


_RULES: Final[tuple[Callable[[_Asked], Refusal | None], ...]] = (
    _bad_path,
    _repeated_header,
    _foreign_host,
    _foreign_origin,
    _no_route,
    _bad_framing,
)
"""In this order: a stranger is not told which paths there are."""
