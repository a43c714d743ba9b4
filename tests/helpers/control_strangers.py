"""What strangers send to a control server, as a table: each is to be refused, and to change nothing."""

from collections.abc import Callable

from tests.helpers.control_client import CHUNKED, JSON, PAGE, written

CHUNK = b"400\r\n" + b" " * 0x400 + b"\r\n"

REFUSED: dict[str, tuple[Callable[[int], bytes], set[int]]] = {
    "foreign origin": (lambda p: written(p, "GET /status", "Origin: http://evil.example"), {403}),
    "null origin": (lambda p: written(p, "GET /logs", "Origin: null"), {403}),
    "origin of another port": (lambda p: written(p, "GET /health", f"Origin: http://127.0.0.1:{p}"), {403}),
    "origin that begins right": (lambda p: written(p, "GET /health", f"Origin: {PAGE}.evil.example"), {403}),
    "origin with a user": (lambda p: written(p, "GET /health", f"Origin: {PAGE}@evil.example"), {403}),
    "two origins": (lambda p: written(p, "GET /health", f"Origin: {PAGE}", "Origin: http://evil.example"), {400}),
    "rebound name": (lambda p: written(p, "POST /kill", host=f"evil.example:{p}"), {403}),
    "rebound name reads": (lambda p: written(p, "GET /logs", host=f"localhost.evil.example:{p}"), {403}),
    "host without its port": (lambda p: written(p, "POST /kill", host="127.0.0.1"), {403}),
    "host with a user": (lambda p: written(p, "POST /kill", host=f"127.0.0.1:{p}@evil.example"), {400, 403}),
    "two hosts": (lambda p: written(p, "POST /kill", "Host: evil.example"), {400}),
    "no host": (lambda _: b"POST /kill HTTP/1.1\r\n\r\n", {400, 403}),
    "no host, HTTP/1.0": (lambda _: b"POST /kill HTTP/1.0\r\n\r\n", {403}),
    "forwarded host": (lambda p: written(p, "POST /kill", f"X-Forwarded-Host: 127.0.0.1:{p}", host="evil"), {403}),
    "post from comfyui's page": (lambda p: written(p, "POST /restart", f"Origin: {PAGE}"), {403}),
    "post from a sandbox": (lambda p: written(p, "POST /restart", "Origin: null"), {403}),
    "post from any browser": (lambda p: written(p, "POST /restart", "Sec-Fetch-Site: same-origin"), {403}),
    "preflight": (
        lambda p: written(p, "OPTIONS /kill", f"Origin: {PAGE}", "Access-Control-Request-Method: POST"),
        {403},
    ),
    "post that says get": (
        lambda p: written(p, "POST /kill", f"Origin: {PAGE}", "X-HTTP-Method-Override: GET"),
        {403},
    ),
    "get that says post": (lambda p: written(p, "GET /kill", "X-HTTP-Method-Override: POST"), {405}),
    "form": (
        lambda p: written(
            p, "POST /kill", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 3", body=b"a=b"
        ),
        {415},
    ),
    "form with parts": (
        lambda p: written(
            p,
            "POST /restart",
            "Content-Type: multipart/form-data; boundary=x",
            "Content-Length: 7",
            body=b"--x--\r\n",
        ),
        {415},
    ),
    "text that is json": (
        lambda p: written(p, "POST /kill", "Content-Type: text/plain", "Content-Length: 2", body=b"{}"),
        {415},
    ),
    "chunked form": (
        lambda p: written(p, "POST /kill", "Content-Type: multipart/form-data", CHUNKED, body=CHUNK + b"0\r\n\r\n"),
        {415},
    ),
    "no json": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", body=b"{]"), {400}),
    "json list": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", body=b"[]"), {400}),
    "deep json": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 4096", body=b"[" * 4096), {400}),
    "1 GB announced": (
        lambda p: written(p, "POST /kill", JSON, "Content-Length: 1000000000", body=b"{" * 90_000),
        {413},
    ),
    "1 GB on a GET": (lambda p: written(p, "GET /logs", "Content-Length: 1000000000", body=b"{" * 90_000), {413}),
    "4097 bytes": (lambda p: written(p, "POST /kill", JSON, "Content-Length: 4097", body=b" " * 4095 + b"{}"), {413}),
    "chunks without end": (lambda p: written(p, "POST /kill", JSON, CHUNKED, body=CHUNK * 5), {413}),
    "body on a GET": (lambda p: written(p, "GET /logs", "Content-Length: 1", body=b"x"), {400}),
    "gzip": (
        lambda p: written(p, "POST /kill", JSON, "Content-Encoding: gzip", "Content-Length: 2", body=b"{}"),
        {415},
    ),
    "asks before it sends": (
        lambda p: written(p, "POST /kill", JSON, "Content-Length: 2", "Expect: 100-continue"),
        {417},
    ),
    "two lengths": (lambda p: written(p, "POST /kill", "Content-Length: 0", "Content-Length: 5", body=b"GET /"), {400}),
    "length and chunks": (lambda p: written(p, "POST /kill", "Content-Length: 5", CHUNKED, body=b"0\r\n\r\n"), {400}),
    "bad chunk": (lambda p: written(p, "POST /kill", JSON, CHUNKED, body=b"zz\r\n{}"), {400}),
    "path upward": (lambda p: written(p, "POST /v2/../kill"), {400}),
    "path upward, escaped": (lambda p: written(p, "POST /%2e%2e/kill"), {400}),
    "path upward, escaped twice": (lambda p: written(p, "POST /v2/%252e%252e/kill"), {400}),
    "path to a file of ours": (lambda p: written(p, "GET /..%2f..%2f.metadata/journal.db"), {400}),
    "path with two slashes": (lambda p: written(p, "POST //kill"), {400}),
    "path of a proxy": (lambda p: written(p, f"POST http://127.0.0.1:{p}/kill"), {400}),
    "file": (lambda p: written(p, "GET /journal.db"), {404}),
    "reading what acts": (lambda p: written(p, "GET /kill"), {405}),
    "acting on what reads": (lambda p: written(p, "POST /health"), {405}),
    "putting": (lambda p: written(p, "PUT /kill"), {405}),
    "patching": (lambda p: written(p, "PATCH /restart"), {405}),
    "tracing": (lambda p: written(p, "TRACE /health"), {405}),
    "deleting": (lambda p: written(p, "DELETE /logs"), {405}),
    "tunnel": (lambda p: written(p, f"CONNECT 127.0.0.1:{p}"), {400}),
    "unknown verb": (lambda p: written(p, "KILL /kill"), {400, 405}),
    "small letters": (lambda p: written(p, "post /kill"), {400, 405}),
    "endless header": (lambda p: written(p, "POST /kill", "X: " + "x" * 20_000), {400}),
    "a zero byte in the path": (lambda p: written(p, "POST /kill\0"), {400}),
    "a zero byte in a header": (lambda p: written(p, "POST /kill", "X: a\0b"), {400}),
    "bare newlines": (lambda p: written(p, "POST /kill").replace(b"\r\n", b"\n"), {400}),
    "folded header": (lambda p: written(p, "POST /kill", "X: a", " b"), {400}),
    "space before the colon": (lambda p: written(p, "POST /kill", f"Origin : {PAGE}"), {400}),
    "newer HTTP": (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "TLS": (lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n", {400}),
    "noise": (lambda _: bytes(range(256)) * 4 + b"\r\n\r\n", {400}),
}
"""By name: the bytes for a server on that port, and the statuses that are right. ComfyUI's page is PAGE."""
