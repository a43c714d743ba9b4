"""Ten thousand files that nobody in their right mind writes, each where a request or a command is looked for.

No exception; nothing acted on that is not all that it should be; the very bytes kept; and the journal and the views take it.
"""

import base64
import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from journal import clock
from journal.clock import S
from journal.codec import encode
from journal.events import Event, FileIngested, FileRejected, SwitchRequested
from orchestrator.actions import Act, TakeFile
from orchestrator.config import Config
from orchestrator.deciding.needs import environments_needed
from orchestrator.deciding.settling import inbox as settle
from orchestrator.deciding.situation import Situation, foresee
from orchestrator.inbox import COMMAND, READ_BYTES, UNFINISHED_S, Inbox
from orchestrator.workspace import Workspace, open_workspace
from orchestrator.world import EnvironmentFacts
from projections.publisher import Publisher, is_ours
from projections.views import REQUEST
from tests.helpers.histories import History, seen

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of a large file, yes

EXAMPLES = {"bytes": 2_000, "documents": 2_500, "damaged": 2_500, "encodings": 2_000, "sizes": 1_000}
"""By kind of content; the fast run makes a fiftieth of them."""
FIELDS = ["target_env", "source_env", "timestamp", "switch_id", "command", "reason", "pid", "other"]
COMMANDS = ["restart", "shutdown", "abort_switch"]
STRANGE_NAMES = ["../b", "/etc", "a/b", ".", "..", "", "b\n", "b\0", " b", "-b", "logs", "x" * 300, "\ud800", "nowhere"]
STRANGE_NUMBERS = [0, -1, True, 2**31, 2**63, 10**400, 10**4_000, math.nan, math.inf, -0.0]
TOO_LONG = 10**4_299
"""Python writes and reads no whole number of more digits than this one has; `text_of` writes 5,000."""
_TOO_LONG_TEXT = str(TOO_LONG)
SERVING = History().serving("a")

TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=8)
NAMES = st.sampled_from(["a", "b", *STRANGE_NAMES])
ODDITIES: st.SearchStrategy[object] = st.sampled_from(
    [None, False, "b", 1, *STRANGE_NAMES, *STRANGE_NUMBERS, TOO_LONG, [], {}, [[None]], {"a": {}}]
)
LEAVES = ODDITIES | TEXT | st.integers() | st.floats()
ANYTHING = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | TEXT, LEAVES, max_size=3)
REQUESTS = st.fixed_dictionaries(
    {"target_env": NAMES}, optional={"source_env": st.none() | NAMES, "timestamp": st.floats() | st.integers()}
)
ORDERS = st.fixed_dictionaries(
    {"command": st.sampled_from(COMMANDS)},
    optional={"timestamp": st.floats(), "reason": TEXT | st.none(), "pid": st.none() | st.integers()},
)
NEARLY = st.builds(
    lambda document, field, value: {**document, field: value}, REQUESTS | ORDERS, st.sampled_from(FIELDS), ANYTHING
)
DOCUMENTS = REQUESTS | ORDERS | NEARLY | ANYTHING


def text_of(document: Any) -> str:
    return json.dumps(document).replace(_TOO_LONG_TEXT, "1" * 5_000)


def with_a_key_twice(document: Any) -> str:
    text = text_of(document)
    first = next(iter(document), "other") if isinstance(document, dict) else ""
    return f'{text[:-1]}, {json.dumps(first)}: "b"}}' if document and isinstance(document, dict) else text


def nested(document: Any, opening: str, depth: int, *, closed: bool) -> str:
    inner = opening * depth + ("]" * depth if closed else "")
    return text_of({"other": 0, **document}).replace('"other": 0', f'"other": {inner}', 1)


KINDS = {
    "bytes": st.binary(max_size=300),
    "documents": DOCUMENTS.map(lambda document: text_of(document).encode()),
    "damaged": st.builds(
        lambda text, at, put, skip: text[:at] + put + text[at + skip :],
        DOCUMENTS.map(lambda document: text_of(document).encode()),
        st.integers(0, 120),
        st.binary(max_size=3),
        st.integers(0, 200),
    ),
    "encodings": st.one_of(
        st.builds(
            lambda document, encoding: text_of(document).encode(encoding),
            DOCUMENTS,
            st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "utf-16-be", "utf-7"]),
        ),
        DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")),
        DOCUMENTS.map(lambda document: with_a_key_twice(document).encode()),
    ),
    "sizes": st.one_of(
        st.builds(
            lambda document, opening, depth, closed: nested(document, opening, depth, closed=closed).encode(),
            REQUESTS | ORDERS,
            st.sampled_from(["[", '{"a": ', "[[", '[{"a":']),
            st.integers(1, 20_000) | st.integers(1, 1_500),
            st.booleans(),
        ),
        st.builds(
            lambda filler, size, end: b'{"target_env": "b", "other": "' + filler * size + end,
            st.sampled_from([b"b", b" ", b"\0", b"\xff", "\ud800".encode("utf-8", "surrogatepass")]),
            st.integers(READ_BYTES - 60, READ_BYTES + 60) | st.just(4 * READ_BYTES),
            st.sampled_from([b'"}', b"", b'"}\n']),
        ),
    ),
}


def is_valid(name: str, content: bytes) -> bool:
    """What may be acted on, said here once more: every field that is there is what it should be, and is there once."""

    def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    try:
        said = json.loads(content.decode("utf-8-sig"), object_pairs_hook=each_once)
    except (ValueError, RecursionError, AssertionError):
        return False
    if len(content) > READ_BYTES or not isinstance(said, dict) or not is_number(said.get("timestamp", 0)):
        return False
    if name == REQUEST:
        target, source = said.get("target_env"), said.get("source_env")
        return is_text(target) and target != "" and (source is None or is_text(source))
    pid, reason = said.get("pid"), said.get("reason")
    is_pid = pid is None or (type(pid) is int and 0 < pid < 2**31)
    return said.get("command") in COMMANDS and is_pid and (reason is None or is_text(reason))


def is_text(value: object) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def is_number(value: object) -> bool:
    return type(value) in {int, float} and abs(value) < math.inf  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("hostile")
    for folder in (".metadata", "environments/a/ComfyUI", "environments/b/ComfyUI"):
        (root / folder).mkdir(parents=True)
    return open_workspace(root)


def taken_in(workspace: Workspace, name: str) -> tuple[Event, ...]:
    """What comes of the file that lies there: looked at until it is settled, journaled, taken away, the views written."""
    folder, history, now = workspace.metadata, SERVING, clock.read()
    inbox = Inbox(folder, now)
    inbox.look(now, history.state.seq)
    late = attrs.evolve(now, monotonic_ns=now.monotonic_ns + round(UNFINISHED_S * S))
    items = inbox.look(late, history.state.seq)
    if not items:
        return ()
    names = environments_needed(history.state, items)
    found = {one: EnvironmentFacts(one, workspace.environment_problem(one)) for one in names}
    act = settle(Situation(history.state, seen(history, inbox=items, environments=found), late, Config()))
    assert isinstance(act, Act)
    assert act.effect == TakeFile(name, items[0].key)
    for draft in act.events:
        encode(draft.event)
    after = foresee(history.state, act.events, late, history.actor)
    inbox.set_aside(name, items[0].key)
    assert Publisher(folder).publish(after) == ()
    inbox.drop_aside(name)
    assert inbox.look(late, after.seq) == ()
    return tuple(draft.event for draft in act.events)


def cleared(workspace: Workspace, name: str) -> Path:
    """Where the next file goes, with what the one before has led to out of the way."""
    for path in workspace.metadata.iterdir():
        path.unlink()
    return workspace.metadata / name


def check(workspace: Workspace, name: str, content: bytes) -> None:
    cleared(workspace, name).write_bytes(content)
    events = taken_in(workspace, name)
    if not events:
        assert name == REQUEST
        assert is_ours(content, SERVING.state.seq)
        return
    first, *others = events
    if isinstance(first, FileRejected):
        assert not others
        assert base64.b64decode(first.content_base64) == content[:READ_BYTES]
        return
    assert isinstance(first, FileIngested)
    assert first.content.encode() == content
    assert others
    assert is_valid(name, content)
    assert all(event.target == "b" for event in others if isinstance(event, SwitchRequested))


def bounded(examples: int) -> settings:
    phases = [Phase.generate, Phase.shrink]
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck), phases=phases, database=None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_never_acted_on_and_never_lost(workspace, kind):
    @bounded(EXAMPLES[kind] // 50)
    @given(st.sampled_from([REQUEST, COMMAND]), KINDS[kind])
    def each(name: str, content: bytes) -> None:
        check(workspace, name, content)

    each()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("kind", KINDS)
def test_so_it_is_with_ten_thousand_of_them(workspace, kind):
    assert sum(EXAMPLES.values()) == 10_000

    @bounded(EXAMPLES[kind])
    @given(st.sampled_from([REQUEST, COMMAND]), KINDS[kind])
    def each(name: str, content: bytes) -> None:
        check(workspace, name, content)

    each()


def listen_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # the path of a socket has at most some 100 bytes
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def link_to_a_request(path: Path) -> None:
    other = path.with_name("elsewhere.json")
    other.write_text('{"target_env": "b", "command": "shutdown"}')
    path.symlink_to(other)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "link to a request": link_to_a_request,
    "link to itself": lambda path: path.symlink_to(path),
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to a folder": lambda path: path.symlink_to("/"),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "socket": listen_at,
}


@pytest.mark.parametrize("name", [REQUEST, COMMAND])
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_rejected_and_taken_away_and_what_it_points_to_is_not(workspace, make, name):
    path = cleared(workspace, name)
    make(path)
    (rejected,) = taken_in(workspace, name)
    assert isinstance(rejected, FileRejected)
    assert rejected.content_base64 == ""
    assert not os.path.lexists(path)
    assert (workspace.metadata / "elsewhere.json").exists() == (make is link_to_a_request)
