"""Any order of writers, readers and accidents: the journal holds what was appended, and says so."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import journal.head
from journal import Anchor, Draft, Journal, JournalConflict, Recorded, verify
from journal.events import Event
from tests.helpers.event_strategies import events
from tests.helpers.journals import new_journal

pytestmark = pytest.mark.slow

BATCHES = st.lists(events(), min_size=1, max_size=4)


class JournalMachine(RuleBasedStateMachine):
    """Two writers, one of them open for good, and a reader that is."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.writer = new_journal(Path(self.folder.name))
        self.reader = Journal.open_readonly(self.writer.path)
        self.head_file = self.writer.path.with_suffix(".head")
        self.earlier_head = self.head_file.read_bytes()
        self.stored: list[Recorded] = list(self.writer.read())

    @rule(batch=BATCHES, told=st.booleans())
    def append(self, batch: list[Event], told: bool) -> None:
        expected = len(self.stored) if told else None
        self.stored += self.writer.append([Draft(event, cause=1) for event in batch], expected_seq=expected)

    @rule(batch=BATCHES)
    def another_appends(self, batch: list[Event]) -> None:
        with new_journal(Path(self.folder.name)) as other:
            assert other.anchor_problem == ""
            self.stored += other.append([Draft(event, switch=1) for event in batch])

    @rule(batch=BATCHES, off=st.integers(-3, 3).filter(bool))
    def append_in_ignorance(self, batch: list[Event], off: int) -> None:
        try:
            self.writer.append([Draft(event) for event in batch], expected_seq=len(self.stored) + off)
        except JournalConflict as conflict:
            assert conflict.found == len(self.stored)  # noqa: PT017 - it is what the model says
        else:
            message = "appended after a seq that is not the last"
            raise AssertionError(message)

    @rule()
    def close_and_open(self) -> None:
        self.writer.close()
        self.writer = new_journal(Path(self.folder.name))

    @rule()
    def lose_the_head_file(self) -> None:
        self.head_file.unlink(missing_ok=True)

    @rule()
    def die_before_the_head_file(self) -> None:
        self.head_file.write_bytes(self.earlier_head)

    @rule(after=st.integers(0, 40), length=st.integers(0, 10), switch=st.none() | st.just(1))
    def read_a_part(self, after: int, length: int, switch: int | None) -> None:
        wanted = [record for record in self.stored[after:] if switch is None or record.switch == switch]
        assert list(self.reader.read(after, switch=switch, limit=length)) == wanted[:length]
        newest = [record for record in self.stored if switch is None or record.switch == switch][::-1][:length]
        assert self.reader.newest(length, switch=switch) == newest[::-1]

    @invariant()
    def everybody_reads_what_was_appended(self) -> None:
        assert list(self.reader.read()) == self.stored
        assert self.reader.head() == self.writer.head() == (len(self.stored), self.stored[-1].hash)

    @invariant()
    def the_journal_is_valid(self) -> None:
        verdict = verify(self.reader)
        assert (verdict.problems, verdict.events) == ((), len(self.stored))
        known = journal.head.read(self.head_file)
        assert known is None or known.seq <= len(self.stored)
        assert verdict.anchor in {Anchor.OK, Anchor.BEHIND, Anchor.MISSING}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.reader.close()
            self.writer.close()
            self.folder.cleanup()


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=15, stateful_step_count=15)
