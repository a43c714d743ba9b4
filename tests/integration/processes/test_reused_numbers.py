import attrs

from journal.identity import own_identity
from orchestrator.processes.table import Row
from orchestrator.processes.tree import Ties, members


def row(pid: int, parent: int, session: int, ticks: int = 100, *, zombie: bool = False) -> Row:
    return Row(pid, ticks, parent, session, zombie)


class TestReusedNumbers:
    """Tables as the kernel could show them; the pids are beyond any that it gives out."""

    root = attrs.evolve(own_identity(), pid=10_000_001, start_ticks=100)

    def of(self, *rows: Row) -> set[int]:
        return {one.pid - 10_000_000 for one in members(self.root, Ties(""), {one.pid: one for one in rows})}

    def test_a_session_whose_leader_is_gone_is_the_roots(self):
        assert self.of(row(10_000_002, 1, 10_000_001)) == {2}

    def test_a_session_whose_leader_is_a_zombie_is_the_roots(self):
        assert self.of(row(10_000_001, 1, 10_000_001, zombie=True), row(10_000_002, 1, 10_000_001)) == {2}

    def test_a_stranger_with_the_roots_pid_and_its_session_are_not(self):
        assert (
            self.of(row(10_000_001, 1, 10_000_001, ticks=900), row(10_000_002, 10_000_001, 10_000_001, ticks=901))
            == set()
        )

    def test_what_is_older_than_the_root_is_not(self):
        assert self.of(row(10_000_001, 1, 10_000_001), row(10_000_002, 10_000_001, 10_000_001, ticks=99)) == {1}

    def test_the_session_a_root_was_started_into_is_not(self):
        assert self.of(row(10_000_001, 1, 10_000_009), row(10_000_002, 1, 10_000_009)) == {1}

    def test_sessions_below_the_root_are(self):
        table = (
            row(10_000_001, 1, 10_000_009),
            row(10_000_003, 10_000_001, 10_000_003),
            row(10_000_004, 1, 10_000_003),
            row(10_000_005, 10_000_004, 10_000_005),
        )
        assert self.of(*table) == {1, 3, 4, 5}

    def test_no_session_is_no_bond(self):
        assert self.of(row(10_000_001, 1, 0), row(10_000_002, 1, 0)) == {1}
