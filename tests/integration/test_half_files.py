"""Whoever reads a file of `.metadata` while it is rewritten, over and over, finds one content or the other, never half of one."""

import hashlib
import json
import subprocess
import sys

import attrs
import pytest

from journal import head
from journal.events import ControlListening, StartupCaptured
from journal.head import Head
from journal.identity import Identity
from projections.publisher import Publisher
from projections.state import WorkspaceState
from projections.views import views
from tests.helpers.histories import History

pytestmark = [pytest.mark.slow, pytest.mark.no_cover, pytest.mark.scenario("B-04")]

REWRITES = 20_000
HEADS = 20_000
"""Rewrites of the head file: the same 48 bytes in place, so that two reads have to agree."""

READER = """
import json, sys
from pathlib import Path
folder, names = Path(sys.argv[1]), sys.argv[2:]
seen = {name: {} for name in names}
missing = dict.fromkeys(names, 0)
over = folder / "over"
print("ready", flush=True)
while not over.exists():
    for name in names:
        try:
            content = (folder / name).read_bytes().hex()
        except FileNotFoundError:
            missing[name] += 1
            continue
        seen[name][content] = seen[name].get(content, 0) + 1
print(json.dumps([seen, missing]))
"""
HEAD_READER = """
import json, sys
from pathlib import Path
from journal import head
path, over, enough, seen, reads = *map(Path, sys.argv[1:]), {}, 0
print("ready", flush=True)
while not over.exists():
    found = head.read(path)
    reads += 1
    seen["nothing" if found is None else found.seq] = "" if found is None else found.hash.hex()
    if reads > 1_000 and len(seen) > 100 and not enough.exists():
        enough.touch()
print(json.dumps([reads, seen]))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def state_named(name: str, port: int) -> WorkspaceState:
    """In the middle of a switch, with every view there is."""
    history = History().serving(name).switching(f"{name}2")
    history.add(ControlListening(host="127.0.0.1", port=port, public_origin=f"https://{name}.example.org"))
    history.add(
        StartupCaptured(
            environment=name,
            workspace_root=f"/{name}",
            port=port,
            python_executable=f"/{name}/python",
            working_directory=f"/{name}",
            argv=("main.py", *[name] * 20),
        )
    )
    state: WorkspaceState = history.state
    return attrs.evolve(state, orchestrator=Identity(port, 1, "boot-1"))


def test_no_view_is_ever_seen_half(tmp_path):
    publisher = Publisher(tmp_path)
    states = state_named("a", 5050), state_named("b" * 200, 50_500)
    wanted = [views(state) for state in states]
    assert all(wanted[0][name] != wanted[1][name] for name in wanted[0])
    publisher.publish(states[0])
    reader = start(READER, tmp_path, *wanted[0])
    rounds = -(-REWRITES // len(wanted[0]))
    for number in range(rounds):
        publisher.publish(states[1 - number % 2])
    (tmp_path / "over").touch()
    seen, missing = json.loads(reader.communicate(timeout=60)[0])

    for name in wanted[0]:
        whole = {(content[name] or b"").hex() for content in wanted}
        assert set(seen[name]) <= whole, name
        assert sum(seen[name].values()) > 100, f"{name} was hardly read"
        assert missing[name] == 0, name
    assert list(tmp_path.glob("*.tmp.*")) == []


def test_a_view_that_comes_and_goes_is_whole_while_it_is_there(tmp_path):
    publisher = Publisher(tmp_path)
    busy = state_named("b" * 200, 5050)
    idle = attrs.evolve(History().serving("a").state, seq=busy.seq)  # else the request is one of a journal that is gone
    wanted = {name: content for name, content in views(busy).items() if content is not None}
    publisher.publish(busy)
    reader = start(READER, tmp_path, *wanted)
    for _ in range(500):
        publisher.publish(busy)
        publisher.publish(idle)
    (tmp_path / "over").touch()
    seen, missing = json.loads(reader.communicate(timeout=60)[0])

    for name, content in wanted.items():
        there_when_idle = views(idle)[name]
        assert set(seen[name]) <= {content.hex(), (there_when_idle or content).hex()}, name
        assert (missing[name] > 0) is (there_when_idle is None), name


def test_the_head_file_is_never_read_as_what_it_never_was(tmp_path):
    path, enough = tmp_path / "journal.head", tmp_path / "enough"
    head.write(path, Head(0, digest_of(0)))
    reader = start(HEAD_READER, path, tmp_path / "over", enough)
    seq = 0
    while seq < HEADS or not enough.exists():  # a busy machine lets the reader look less often
        head.write(path, Head(seq, digest_of(seq)))
        seq += 1
    (tmp_path / "over").touch()
    reads, seen = json.loads(reader.communicate(timeout=60)[0])

    assert reads > 1_000
    assert len(seen) > 100
    assert seen == {seq: digest_of(int(seq)).hex() for seq in seen}


def digest_of(seq: int) -> bytes:
    return hashlib.sha256(str(seq).encode()).digest()
