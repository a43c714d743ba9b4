"""What the control server refuses, as a table: one request a line."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.control.refusing import (
    ACTING_PATHS,
    MAX_BODY_BYTES,
    READ_PATHS,
    allowed_origins,
    body_refusal,
    refusal,
)
from orchestrator.origins import origin_of

PORT = 5050
COMFYUI_PORT = 8188
PUBLISHED = "https://comfy.example.org"
HOST = ("Host", f"127.0.0.1:{PORT}")
JSON = ("Content-Type", "application/json")

Header = tuple[str, str]


def judged(method: str, target: str, *headers: Header, public_origin: str = PUBLISHED) -> tuple[int, str] | None:
    """Status and code of the refusal."""
    found = refusal(method, target, headers, port=PORT, comfyui_port=COMFYUI_PORT, public_origin=public_origin)
    return None if found is None else (found.status, found.error)


@pytest.mark.parametrize("path", sorted(READ_PATHS))
def test_a_program_may_read(path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        assert judged(method, path, HOST) is None


@pytest.mark.parametrize("path", sorted(ACTING_PATHS))
@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Content-Length", "0"), ("Content-Type", "application/octet-stream")),
        (("Content-Length", "2"), JSON),
        (("Content-Length", str(MAX_BODY_BYTES)), ("content-type", "Application/JSON; charset=utf-8")),
        (("Transfer-Encoding", "chunked"),),
        (("Content-Encoding", "identity"),),
    ],
)
def test_a_program_may_act(path: str, headers: tuple[Header, ...]) -> None:
    assert judged("POST", path, HOST, *headers) is None


@pytest.mark.parametrize(
    "host", ["127.0.0.1:5050", "localhost:5050", "LocalHost:5050", "[::1]:5050", " 127.0.0.1:5050 "]
)
def test_this_machine_has_three_names(host: str) -> None:
    assert judged("GET", "/health", ("host", host)) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://127.0.0.1:8188",
        "https://127.0.0.1:8188",
        "http://localhost:8188",
        "https://localhost:8188",
        "http://[::1]:8188",
        "https://[::1]:8188",
        PUBLISHED,
    ],
)
def test_comfyuis_page_may_read(origin: str) -> None:
    assert judged("GET", "/status?t=1", HOST, ("Origin", origin)) is None
    assert judged("POST", "/restart", HOST, ("Origin", origin)) == (403, "from_browser")


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "*",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:5050",
        "http://127.0.0.1:81880",
        "http://127.0.0.1:8188/",
        "http://127.0.0.1:8188.evil.example",
        "http://127.0.0.1:8188@evil.example",
        "http://localhost.evil.example:8188",
        "http://127.0.0.2:8188",
        "http://0.0.0.0:8188",
        "http://[::]:8188",
        "file://127.0.0.1:8188",
        "ws://127.0.0.1:8188",
        "http://comfy.example.org",
        "https://comfy.example.org:8443",
        "https://comfy.example.org.evil.example",
        "http://127.0.0.1:8188, http://evil.example",
        "http://127.0.0.1:8188 http://evil.example",
    ],
)
def test_any_other_page_may_nothing(origin: str) -> None:
    for path in ("/health", "/logs", "/restart", "/nothing"):
        assert judged("GET", path, HOST, ("Origin", origin)) == (403, "foreign_origin")
        assert judged("POST", path, HOST, ("oRiGiN", origin)) == (403, "from_browser")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:5050",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:5051",
        "127.0.0.1:8188",
        "127.0.0.1:05050",
        "127.0.0.1:5050.evil.example",
        "127.0.0.1:5050@evil.example",
        "localhost.:5050",
        "127.1:5050",
        "2130706433:5050",
        "0.0.0.0:5050",
        "::1:5050",
        "[::ffff:127.0.0.1]:5050",
        "127.0.0.1:5050, evil.example",
    ],
)
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    for method, path in (("GET", "/health"), ("POST", "/kill"), ("OPTIONS", "/status")):
        assert judged(method, path, ("Host", host)) == (403, "foreign_host")


@pytest.mark.parametrize("host", ["comfy.example.org", "Comfy.Example.org"])
def test_the_published_name_may_read_but_not_act(host: str) -> None:
    assert judged("GET", "/status", ("Host", host)) is None
    assert judged("GET", "/status", ("Host", host), ("Origin", PUBLISHED)) is None
    assert judged("GET", "/status", ("Host", host), ("Origin", "http://evil.example")) == (403, "foreign_origin")
    assert judged("POST", "/kill", ("Host", host)) == (403, "foreign_host")
    assert judged("GET", "/status", ("Host", host), public_origin="") == (403, "foreign_host")


def test_without_a_host_nothing_is_answered() -> None:
    assert judged("GET", "/health") == (403, "foreign_host")


@pytest.mark.parametrize(
    ("method", "target", "headers", "expected"),
    [
        # paths
        ("GET", "/../health", (), (400, "bad_path")),
        ("GET", "/health/..", (), (400, "bad_path")),
        ("GET", "/./health", (), (400, "bad_path")),
        ("GET", "/%2e%2e/health", (), (400, "bad_path")),
        ("GET", "/..%2fhealth", (), (400, "bad_path")),
        ("GET", "/v2\\comfygit", (), (400, "bad_path")),
        ("POST", "//restart", (), (400, "bad_path")),
        ("POST", "/restart/", (), (400, "bad_path")),
        ("POST", "/restart;a=b", (), (400, "bad_path")),
        ("POST", "/restart\0", (), (400, "bad_path")),
        ("POST", "/restart\n", (), (400, "bad_path")),
        ("POST", "http://127.0.0.1:5050/restart", (), (400, "bad_path")),
        ("OPTIONS", "*", (), (400, "bad_path")),
        ("CONNECT", "evil.example:443", (), (400, "bad_path")),
        ("GET", "/health?" + "a" * 2_000, (), (400, "bad_path")),
        ("GET", "/", (), (404, "not_found")),
        ("GET", "/Health", (), (404, "not_found")),
        ("GET", "/journal.db", (), (404, "not_found")),
        ("POST", "/v2/comfygit/restart", (), (404, "not_found")),
        # verbs
        ("GET", "/restart", (), (405, "wrong_method")),
        ("HEAD", "/kill", (), (405, "wrong_method")),
        ("PUT", "/kill", (), (405, "wrong_method")),
        ("POST", "/health", (), (405, "wrong_method")),
        ("DELETE", "/logs", (), (405, "wrong_method")),
        ("TRACE", "/health", (), (405, "wrong_method")),
        ("OPTIONS", "/restart", (), (403, "from_browser")),
        ("OPTIONS", "/kill", (("Origin", PUBLISHED),), (403, "from_browser")),
        # browsers
        ("POST", "/restart", (("Sec-Fetch-Site", "none"),), (403, "from_browser")),
        # bodies
        ("POST", "/kill", (("Content-Length", "4097"), JSON), (413, "too_big")),
        ("POST", "/kill", (("Content-Length", "1000000000"),), (413, "too_big")),
        ("GET", "/health", (("Content-Length", "1000000000"),), (413, "too_big")),
        ("GET", "/health", (("Content-Length", "1"),), (400, "unexpected_body")),
        ("GET", "/health", (("Transfer-Encoding", "chunked"),), (400, "unexpected_body")),
        ("POST", "/kill", (("Content-Length", "-1"),), (400, "bad_length")),
        ("POST", "/kill", (("Content-Length", "1" * 5_000),), (400, "bad_length")),
        ("POST", "/kill", (("Content-Length", "1"),), (415, "wrong_type")),
        ("POST", "/kill", (("Content-Length", "1"), ("Content-Type", "text/plain")), (415, "wrong_type")),
        ("POST", "/kill", (("Content-Length", "1"), ("Content-Type", "application/jsonx")), (415, "wrong_type")),
        ("POST", "/kill", (JSON, ("Content-Encoding", "gzip")), (415, "wrong_encoding")),
        ("POST", "/kill", (JSON, ("Content-Length", "2"), ("Expect", "100-continue")), (417, "no_expectations")),
        # the same header twice
        ("GET", "/health", (HOST,), (400, "repeated_header")),
        ("GET", "/health", (("HOST", "evil.example"),), (400, "repeated_header")),
        ("GET", "/health", (("Origin", PUBLISHED), ("origin", PUBLISHED)), (400, "repeated_header")),
        ("POST", "/kill", (("Content-Length", "0"), ("Content-Length", "9")), (400, "repeated_header")),
        ("POST", "/kill", (JSON, ("Content-Type", "text/plain")), (400, "repeated_header")),
    ],
)
def test_odd_requests_are_refused(method: str, target: str, headers: tuple[Header, ...], expected: object) -> None:
    assert judged(method, target, HOST, *headers) == expected


def test_a_wrong_method_is_told_the_right_ones() -> None:
    for path, allowed in (("/logs", "GET, HEAD, OPTIONS"), ("/restart", "POST")):
        found = refusal("PATCH", path, [HOST], port=PORT, comfyui_port=COMFYUI_PORT)
        assert found is not None
        assert found.allow == allowed


@pytest.mark.parametrize("body", [b"{}", b' {"reason": "\xc3\xa4"} '])
def test_a_json_object_is_a_body(body: bytes) -> None:
    assert body_refusal("application/json;charset=UTF-8", body) is None


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_no_body_has_any_type(content_type: str) -> None:
    assert body_refusal(content_type, b"") is None


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/x-www-form-urlencoded", b"a=b", (415, "wrong_type")),
        ("multipart/form-data; boundary=x", b"--x--", (415, "wrong_type")),
        ("text/plain;application/json", b"{}", (415, "wrong_type")),
        ("", b"{}", (415, "wrong_type")),
        ("application/json", b"{", (400, "bad_body")),
        ("application/json", b"[]", (400, "bad_body")),
        ("application/json", b"null", (400, "bad_body")),
        ("application/json", b'{"a": "\xff"}', (400, "bad_body")),
        ("application/json", b"[" * MAX_BODY_BYTES, (400, "bad_body")),
        ("application/json", b'{"a": ' + b"1" * 4_000 + b"e", (400, "bad_body")),
    ],
)
def test_anything_else_is_no_body(content_type: str, body: bytes, expected: object) -> None:
    found = body_refusal(content_type, body)
    assert found is not None
    assert (found.status, found.error) == expected


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://comfy.example.org", "https://comfy.example.org"),
        ("HTTPS://Comfy.Example.ORG:443/", "https://comfy.example.org"),
        ("http://comfy.example.org:80/", "http://comfy.example.org"),
        ("http://comfy.example.org:8443", "http://comfy.example.org:8443"),
        ("http://[2001:DB8::1]:8188", "http://[2001:db8::1]:8188"),
        ("", ""),
        ("*", ""),
        ("null", ""),
        ("comfy.example.org", ""),
        ("file:///etc/passwd", ""),
        ("https://", ""),
        ("https://a b", ""),
        ("https://a:99999", ""),
        ("https://[::1", ""),
        ("https://*", ""),
        ("https://comfy.example.org/panel", ""),
        ("https://comfy.example.org?a=b", ""),
        ("https://comfy.example.org/#a", ""),
        ("https://me@comfy.example.org", ""),
    ],
)
def test_the_published_origin_is_read_as_a_browser_writes_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
    assert allowed_origins(COMFYUI_PORT, url) == allowed_origins(COMFYUI_PORT) | ({origin} if origin else set())


def test_browsers_leave_out_default_ports() -> None:
    assert "http://localhost" in allowed_origins(80)
    assert "https://localhost:80" in allowed_origins(80)
    assert "https://[::1]" in allowed_origins(443)
    assert refusal("GET", "/health", [("Host", "localhost")], port=80, comfyui_port=COMFYUI_PORT) is None


@settings(max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20))))
def test_whatever_is_sent_only_the_right_host_gets_through(method: str, target: str, headers: list[Header]) -> None:
    assert refusal(method, target, headers, port=PORT, comfyui_port=COMFYUI_PORT) is not None


@settings(max_examples=50)
@given(st.sampled_from(sorted(READ_PATHS | ACTING_PATHS)), st.text(min_size=1))
def test_no_page_but_comfyuis_gets_through(path: str, origin: str) -> None:
    for method in ("GET", "POST"):
        assert judged(method, path, HOST, ("Origin", origin)) is not None
