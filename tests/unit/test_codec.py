"""Events to text and back."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import JournalDamaged, JournalTooNew, decode, encode
from journal.codec import decode_actor, encode_actor
from journal.events import (
    CATALOGUE,
    Event,
    ExitCause,
    HealthProbed,
    LockAcquired,
    OrchestratorStarted,
    Origin,
    ProcessExited,
    SwitchKind,
    SwitchRequested,
)
from journal.identity import Identity
from journal.upcast import UPCASTERS, upcast
from tests.helpers.event_strategies import events_of
from tests.helpers.journals import ACTOR, probe


@pytest.mark.parametrize("cls", CATALOGUE.values(), ids=CATALOGUE)
def test_every_event_is_read_back_equal(cls: type[Event]):
    @settings(max_examples=12)
    @given(event=events_of(cls))
    def check(event: Event):
        data = encode(event)
        found = decode(cls.stored_name, cls.version, data)
        assert found == event
        assert repr(found) == repr(event)  # a member of an enumeration equals its text
        assert decode(cls.stored_name, cls.version, data.encode()) == event

    check()


def test_what_is_stored_is_compact_ascii_json_with_every_field():
    event = SwitchRequested(target="größer", source="", kind=SwitchKind.ROLLBACK, origin=Origin.CLI)

    assert encode(event) == (
        '{"target":"gr\\u00f6\\u00dfer","source":"","kind":"rollback","origin":"cli",'
        '"generation":null,"requester":null,"reason":"","restores":false}'
    )


def test_tuples_and_identities_are_stored_as_lists_and_objects():
    event = OrchestratorStarted(
        identity=Identity(1, 2, "b"), release="0.1", environment="prod", arguments=("--port", "1"), manual=True
    )

    assert json.loads(encode(event)) == {
        "identity": {"pid": 1, "start_ticks": 2, "boot_id": "b"},
        "release": "0.1",
        "environment": "prod",
        "arguments": ["--port", "1"],
        "manual": True,
    }


def test_a_key_that_a_newer_release_added_is_ignored():
    data = encode(probe(1))[:-1] + ',"added":[1,2]}'

    assert decode("health.probed", 1, data) == probe(1)


def test_a_field_with_a_default_may_be_missing():
    assert decode("lock.acquired", 1, '{"holder":null}') == LockAcquired(holder=None)


@pytest.mark.parametrize(
    "change",
    [
        {"spawn": "1"},
        {"spawn": 1.0},
        {"spawn": True},
        {"spawn": None},
        {"ok": 1},
        {"ok": "true"},
        {"error": 5},
        {"error": None},
        {"status": "200"},
        {"status": []},
    ],
    ids=str,
)
def test_a_stored_value_of_the_wrong_type_is_damage(change: dict[str, object]):
    stored = json.loads(encode(probe(1))) | change

    with pytest.raises(JournalDamaged, match="health.probed"):
        decode("health.probed", 1, json.dumps(stored))


@pytest.mark.parametrize(
    "change",
    [{"log_tail": "lines"}, {"log_tail": [1]}, {"log_tail": {"a": 1}}, {"cause": "bored"}, {"cause": 3}],
    ids=str,
)
def test_a_stored_list_or_enumeration_that_is_none_is_damage(change: dict[str, object]):
    stored = {"spawn": 1, "code": 0, "signal": "", "cause": "clean", "log_tail": ["a"]}
    assert isinstance(decode("process.exited", 1, json.dumps(stored)), ProcessExited)

    with pytest.raises(JournalDamaged):
        decode("process.exited", 1, json.dumps(stored | change))


@pytest.mark.parametrize(
    "data",
    ["", "{", "null", "[]", '"text"', "{}", "{} {}", '{"spawn":NaN}', "[" * 100_000, b"\xff", '{"holder":{"pid":1}}'],
    ids=lambda data: repr(data)[:20],
)
def test_stored_text_that_is_no_such_event_is_damage(data: str | bytes):
    with pytest.raises(JournalDamaged) as caught:
        decode("lock.acquired", 1, data)

    assert caught.value.seq is None


@pytest.mark.parametrize(("name", "version"), [("lock.acquired", 0), ("lock.acquired", "1"), (None, 1), (b"x", 1)])
def test_a_stored_name_or_version_that_cannot_be_is_damage(name: str, version: int):
    with pytest.raises(JournalDamaged):
        decode(name, version, '{"holder":null}')


def test_an_event_of_a_newer_release_is_told_from_damage():
    with pytest.raises(JournalTooNew) as unknown:
        decode("switch.dreamt", 1, "{}")
    assert "switch.dreamt" in unknown.value.found

    with pytest.raises(JournalTooNew) as newer:
        decode("lock.acquired", 2, "{}")
    assert "version 2" in newer.value.found
    assert newer.value.supported == "version 1"


@pytest.mark.parametrize(
    "event",
    [
        HealthProbed(spawn="1", ok=True, latency_ns=1, status=None, error="", successes=1),  # type: ignore[arg-type]
        HealthProbed(spawn=1, ok=1, latency_ns=1, status=None, error="", successes=1),  # type: ignore[arg-type]
        HealthProbed(spawn=1, ok=True, latency_ns=0.5, status=None, error="", successes=1),  # type: ignore[arg-type]
        LockAcquired(holder={"pid": 1}),  # type: ignore[arg-type]
        SwitchRequested(target="a", source="", kind="switch", origin=Origin.CLI),  # type: ignore[arg-type]
        SwitchRequested(target="a", source="", kind=SwitchKind.SWITCH, origin=Origin.CLI, reason=b""),  # type: ignore[arg-type]
        LockAcquired(holder=object()),  # type: ignore[arg-type]
    ],
    ids=["text for int", "int for bool", "float for int", "dict for identity", "text for member", "bytes", "any"],
)
def test_an_event_that_could_not_be_read_back_is_not_encoded(event: Event):
    with pytest.raises(TypeError):
        encode(event)


def test_a_list_in_place_of_a_tuple_is_not_encoded():
    with pytest.raises(TypeError, match="something else"):
        encode(OrchestratorStarted(identity=ACTOR.identity, release="", environment="", arguments=[], manual=True))  # type: ignore[arg-type]


def test_an_event_that_is_not_in_the_catalogue_is_not_encoded():
    @attrs.frozen
    class Dreamt(Event):
        stored_name = "lock.acquired"
        version = 1

    with pytest.raises(TypeError, match="catalogue"):
        encode(Dreamt())


@attrs.frozen(kw_only=True)
class Moved(Event):
    """An event that has had two older versions."""

    stored_name = "furniture.moved"
    version = 3
    what: str
    distance_mm: int


MOVED_STEPS = {
    ("furniture.moved", 1): lambda old: {"what": old["thing"], "distance_m": old["distance_m"]},
    ("furniture.moved", 2): lambda old: {"what": old["what"], "distance_mm": old["distance_m"] * 1000},
}


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (1, '{"thing":"bed","distance_m":2}'),
        (2, '{"what":"bed","distance_m":2}'),
        (3, '{"what":"bed","distance_mm":2000}'),
    ],
)
def test_older_versions_are_lifted_step_by_step(version: int, data: str):
    event = decode("furniture.moved", version, data, catalogue={"furniture.moved": Moved}, upcasters=MOVED_STEPS)

    assert event == Moved(what="bed", distance_mm=2000)


@pytest.mark.parametrize("data", ['{"what":"bed"}', '{"what":"bed","distance_m":"far"}', "[]", "3"])
def test_stored_text_that_a_step_cannot_lift_is_damage(data: str):
    with pytest.raises(JournalDamaged):
        decode("furniture.moved", 2, data, catalogue={"furniture.moved": Moved}, upcasters=MOVED_STEPS)


def test_a_step_that_is_missing_is_named():
    with pytest.raises(LookupError, match=r"version 1 of 'furniture\.moved'"):
        upcast("furniture.moved", 1, 2, {})


def test_an_exit_that_an_older_release_stored_has_left_nothing():
    stored = '{"spawn":7,"code":42,"signal":"","cause":"restart","log_tail":["bye"]}'
    event = decode("process.exited", 1, stored)

    assert event == ProcessExited(spawn=7, code=42, signal="", cause=ExitCause.RESTART, log_tail=("bye",))


def test_every_older_version_in_the_catalogue_has_its_step():
    due = {(name, version) for name, cls in CATALOGUE.items() for version in range(1, cls.version)}

    assert set(UPCASTERS) == due


@given(role=st.text(), pid=st.integers(), ticks=st.integers(), boot=st.text(), host=st.text())
def test_an_actor_is_read_back_equal(role: str, pid: int, ticks: int, boot: str, host: str):
    actor = attrs.evolve(ACTOR, role=role, identity=Identity(pid, ticks, boot), host=host)

    assert decode_actor(encode_actor(actor)) == actor


@pytest.mark.parametrize(
    "data", ["", "{}", '{"role":"cli","identity":{"pid":"1","start_ticks":1,"boot_id":""},"host":""}']
)
def test_a_stored_actor_that_is_none_is_damage(data: str):
    with pytest.raises(JournalDamaged, match="actor"):
        decode_actor(data)
