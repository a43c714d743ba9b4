"""Is it a ComfyUI, and is it ready: one `GET /system_stats`, judged."""

import asyncio
import errno
import json
import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import attrs

from journal import clock

if TYPE_CHECKING:
    import aiohttp

MAX_BODY_BYTES: Final = 1024 * 1024
REFUSED: Final = "connection refused"
"""The error of a probe that met nobody."""


@attrs.frozen
class ProbeOutcome:
    """What one probe found. `status` is None when there was no HTTP answer; `error` is "" exactly when `ok`.

    The texts of `error` keep their wording: "connection refused", "no answer within 2.0 s", "HTTP 500",
    "not ComfyUI: ...".
    """

    ok: bool
    latency_ns: int
    status: int | None
    error: str


class _NotReadyError(Exception):
    def __init__(self, error: str, status: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


class Prober:
    """Probes by a connection of its own each time, so that the answer is of whoever listens now. Of one event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def probe(self, url: str, timeout_s: float) -> ProbeOutcome:
        """Ask `{url}/system_stats`. Ready is 200 with a JSON object holding an object `system`, all within `timeout_s`.

        Follows no redirect, uses no proxy, trusts any certificate, reads at most MAX_BODY_BYTES. Raises nothing but
        CancelledError. The first call imports aiohttp, which takes a quarter of a second.
        """
        session = self._open_session()
        begun = clock.read()
        try:
            async with asyncio.timeout(timeout_s):
                await _ask(session, f"{url.rstrip('/')}/system_stats")
            failure = None
        except TimeoutError:
            failure = _NotReadyError(f"no answer within {timeout_s:.1f} s")
        except Exception as error:  # noqa: BLE001 - whatever a stranger's answer does to a parser is a failed probe
            failure = error if isinstance(error, _NotReadyError) else _NotReadyError(_explained(error))
        latency_ns = clock.elapsed_ns(begun, clock.read())
        if failure is None:
            return ProbeOutcome(ok=True, latency_ns=latency_ns, status=HTTPStatus.OK, error="")
        return ProbeOutcome(ok=False, latency_ns=latency_ns, status=failure.status, error=failure.error)

    async def close(self) -> None:
        """Close what is open. The next probe opens it again."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=False, force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def probe(url: str, timeout_s: float) -> ProbeOutcome:
    """One probe, with a session of its own: see `Prober.probe`."""
    prober = Prober()
    try:
        return await prober.probe(url, timeout_s)
    finally:
        await prober.close()


async def _ask(session: "aiohttp.ClientSession", url: str) -> None:
    """Raises _NotReadyError for an answer that is not ComfyUI's."""
    async with session.get(url, allow_redirects=False) as response:
        if response.status != HTTPStatus.OK:
            problem = f"HTTP {response.status}"
            raise _NotReadyError(problem, response.status)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                problem = "not ComfyUI: the answer is over 1 MiB"
                raise _NotReadyError(problem, response.status)
        problem = _problem(bytes(body))
        if problem:
            raise _NotReadyError(problem, response.status)


def _problem(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return "not ComfyUI: the answer is not JSON"
    if not isinstance(answer, dict) or not isinstance(answer.get("system"), dict):
        return "not ComfyUI: no `system` in the answer"
    return ""


def _explained(error: Exception) -> str:
    """In the same few words, whichever library it came from."""
    import aiohttp

    match error:
        case aiohttp.ClientSSLError():
            return "not ComfyUI: no TLS"
        case aiohttp.ClientConnectorDNSError():
            return "no such host"
        case aiohttp.ClientConnectorError():
            return _why_unconnected(error.os_error)
        case aiohttp.InvalidURL():
            return "not a URL"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "connection closed before the answer was complete"
        case aiohttp.ClientResponseError():
            return "not ComfyUI: the answer is not HTTP"
        case _:
            return f"probe failed: {type(error).__name__}"


def _why_unconnected(error: OSError) -> str:
    """A name with several addresses gives one error without a number, whose text has those of all attempts."""
    numbers = {error.errno} if error.errno else {int(text) for text in re.findall(r"\[Errno (\d+)\]", str(error))}
    if numbers == {errno.ECONNREFUSED}:
        return REFUSED
    reasons = ", ".join(os.strerror(number) for number in sorted(numbers)) or type(error).__name__
    return f"no connection: {reasons}"
