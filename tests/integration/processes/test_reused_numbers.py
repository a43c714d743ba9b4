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

    def test_a_session_whose_root_was_gone_before_anybody_watched_may_be_a_strangers(self):
        table = {one.pid: one for one in (row(10_000_002, 1, 10_000_001), row(10_000_003, 10_000_002, 10_000_003))}
        assert members(self.root, Ties("a:1", session=False), table) == ()
        assert len(members(self.root, Ties("a:1"), table)) == 2

    def test_it_is_the_roots_where_one_that_is_bound_to_it_is_in_it(self):
        table = {one.pid: one for one in (row(10_000_002, 1, 10_000_001), row(10_000_003, 1, 10_000_001))}
        ties = Ties("a:1", lambda: frozenset({10_000_003}), session=False)
        assert len(members(self.root, ties, table)) == 2

    def test_no_session_is_no_bond(self):
        assert self.of(row(10_000_001, 1, 0), row(10_000_002, 1, 0)) == {1}


class TestOrphans:
    """Of a guard, in tables as above: nobody in them carries a mark or is in a cgroup."""

    root = attrs.evolve(own_identity(), pid=10_000_001, start_ticks=100)
    guard = attrs.evolve(own_identity(), pid=10_000_005, start_ticks=50)
    table = (
        row(10_000_001, 10_000_006, 10_000_001),
        row(10_000_005, 1, 10_000_005, ticks=50),
        row(10_000_007, 10_000_005, 10_000_007, ticks=120),
        row(10_000_008, 1, 10_000_008, ticks=120),
        row(10_000_009, 10_000_005, 10_000_009, ticks=99),
    )

    def of(self, mark, guard, *rows):
        table = {one.pid: one for one in (*self.table, *rows)}
        return {one.pid - 10_000_000 for one in members(self.root, Ties(mark, guard=guard), table)}

    def test_the_guards_children_that_are_younger_than_the_root_are_its_orphans(self):
        assert self.of("a:1", self.guard) == {1, 7}

    def test_without_a_guard_or_a_mark_nobody_is(self):
        assert self.of("a:1", None) == {1}
        assert self.of("", self.guard) == {1}

    def test_a_stranger_with_the_guards_pid_has_none(self):
        assert self.of("a:1", attrs.evolve(self.guard, start_ticks=51)) == {1}
        assert self.of("a:1", attrs.evolve(self.guard, pid=10_000_004)) == {1}

    def test_what_was_left_to_init_may_be_anybodys(self):
        assert self.of("a:1", attrs.evolve(self.guard, pid=1, start_ticks=0), row(1, 0, 1, ticks=0)) == {1}
