"""Where ComfyUI will answer, read from the arguments it is started with, and which arguments those are.

ComfyUI reads its command line with argparse, so argparse reads it here too. The parser below knows the four options
that make the endpoint, and every other one that shares a first letter with them: only those can make an abbreviation
ambiguous.
"""

import functools
import ipaddress
from collections.abc import Sequence
from typing import Final

import attrs

from orchestrator.config import Config
from orchestrator.quiet_parser import QuietParser, UnparsableError

COMFYUI_PORT: Final = 8188
"""ComfyUI's own default port."""
COMFYUI_HOST: Final = "127.0.0.1"
"""ComfyUI's own default address."""

_LISTEN_EVERYWHERE = "0.0.0.0,::"  # what a bare --listen means to ComfyUI
_LAST_PORT = 65_535
_SHOWN_CHARACTERS = 200


@attrs.frozen
class Endpoint:
    """Where to probe. `host` is an address or a name, an IPv6 address without brackets; `scheme` http or https."""

    host: str
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """The base URL without a final slash, as in `http://127.0.0.1:8188` or `https://[::1]:9000`."""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@attrs.frozen
class _Parsed:
    port: int | None = None
    listen: str | None = None
    tls: bool = False
    problem: str = ""


@functools.cache
def _parser() -> QuietParser:
    parser = QuietParser(prog="main.py", add_help=False)
    parser.add_argument("--port", type=int)
    parser.add_argument("--listen", nargs="?", const=_LISTEN_EVERYWHERE)
    parser.add_argument("--tls-keyfile")
    parser.add_argument("--tls-certfile")
    for valued in ("--preview-method", "--preview-size", "--temp-directory"):
        parser.add_argument(valued)
    for flag in ("--lowvram", "--log-stdout"):
        parser.add_argument(flag, action="store_true")
    return parser


def _parse(arguments: Sequence[str]) -> _Parsed:
    return _parsed(tuple(arguments))


@functools.lru_cache(maxsize=8)  # asked with the same ones at every step of the loop, and argparse takes 0.1 ms
def _parsed(arguments: tuple[str, ...]) -> _Parsed:
    try:
        known, _others = _parser().parse_known_args(list(arguments))
    except UnparsableError as exc:
        return _Parsed(problem=f"ComfyUI will refuse its arguments: {exc}"[:_SHOWN_CHARACTERS])
    parsed = _Parsed(known.port, known.listen, bool(known.tls_keyfile and known.tls_certfile))
    if parsed.port is not None and not 1 <= parsed.port <= _LAST_PORT:
        problem = f"ComfyUI cannot serve on --port {parsed.port}: a port is a number from 1 to {_LAST_PORT}"
        return attrs.evolve(parsed, port=None, problem=problem[:_SHOWN_CHARACTERS])
    return parsed


def _reached_by(listened: str) -> tuple[int, str]:
    """(rank, host): under which host this machine reaches what listens on `listened`; the lowest rank is best."""
    name = listened.strip()
    if name in {"", "localhost"}:  # to asyncio an empty host is every interface
        return 0, name or COMFYUI_HOST
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return 2, name
    if not (address.is_loopback or address.is_unspecified):
        return 2, name
    any_host, rank = (COMFYUI_HOST, 0) if address.version == 4 else ("::1", 1)  # noqa: PLR2004
    return rank, any_host if address.is_unspecified else name


def _reachable(listen: str) -> str:
    """Of a list as `--listen` takes it the best host to probe: IPv4 loopback or any, IPv6 likewise, then the first."""
    candidates = [_reached_by(one) for one in listen.split(",")]
    return min(candidates, key=lambda candidate: candidate[0])[1]


def endpoint_of(arguments: Sequence[str], default_host: str, default_port: int) -> Endpoint:
    """Where a ComfyUI started with `arguments` answers a probe from this machine. Never raises, prints or exits.

    What the arguments do not say, or say in a way that ComfyUI will refuse (see `endpoint_problem`), is the default.
    """
    parsed = _parse(arguments)
    host = _reachable(default_host if parsed.listen is None else parsed.listen)
    port = default_port if parsed.port is None else parsed.port
    return Endpoint(host, port, "https" if parsed.tls else "http")


def endpoint_problem(arguments: Sequence[str]) -> str:
    """Why ComfyUI will not be able to serve at the endpoint that `arguments` name; "" when it will."""
    return _parse(arguments).problem


def user_arguments(argv: Sequence[str]) -> list[str]:
    """ComfyUI's arguments in a command line of ours: what follows the first `--args`, without `--enable-manager`."""
    if "--args" not in argv:
        return []
    following = argv[argv.index("--args") + 1 :]
    return [argument for argument in following if argument != "--enable-manager"]


def full_arguments(config: Config, arguments: Sequence[str], *, bare: bool = False) -> tuple[str, ...]:
    """What ComfyUI is started with: configured endpoint, `extra_args`, `arguments`. The last one wins: the user's.

    The endpoint is only there where it differs from ComfyUI's own default and nothing after it names one. `bare`: without
    `extra_args`.
    """
    own = tuple(arguments) if bare else (*config.extra_args, *arguments)
    given = _parse(own)
    default: list[str] = []
    if config.default_port != COMFYUI_PORT and given.port is None:
        default += ["--port", str(config.default_port)]
    if config.default_host != COMFYUI_HOST and given.listen is None:
        default += ["--listen", config.default_host]
    return (*default, *own)
