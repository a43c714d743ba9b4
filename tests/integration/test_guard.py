"""The guard as a process, with small programs in the orchestrator's place."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from journal.identity import Identity, identify, is_alive
from orchestrator import guard
from tests.helpers.guarded import guarded
from tests.helpers.waiting import until

ORPHAN = """
import signal, sys
def leave(*_): sys.exit(7)
signal.signal(signal.SIGTERM, leave)
print("ready", flush=True)
signal.pause()
"""

WITH_AN_ORPHAN = f"""
if again == "0":
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", {ORPHAN!r}], start_new_session=True,
                             stdout=subprocess.PIPE)
    child.stdout.readline()
    tell(child=child.pid)
serve()
"""


def test_it_ends_with_an_orchestrator_that_ended_with_0(tmp_path):
    with guarded(tmp_path, "os.write(int(say), b'started\\n'); tell(started=True)") as it:
        assert it.process.wait(10) == 0
        assert it.told("again") == ["0"]


def test_a_terminal_that_takes_nothing_does_not_keep_it_from_starting_the_next_one(tmp_path):
    reading, writing = os.pipe()
    try:
        os.write(writing, b"x" * 65_536)  # as much as it takes
        with guarded(tmp_path, "serve()", stderr=writing) as it:
            os.kill(it.pids(1)[0], signal.SIGKILL)
            assert len(it.pids(2)) == 2
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("code", [1, 2, 130])
def test_a_refusal_is_passed_on_and_nothing_is_started_again(tmp_path, code):
    with guarded(tmp_path, f"tell(); sys.exit({code})") as it:
        assert it.process.wait(10) == code
        assert it.told("again") == ["0"]


def test_a_command_that_cannot_be_executed_is_said(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-S", guard.__file__, "--", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == guard.NOT_STARTED
    assert "No such file" in done.stderr


@pytest.mark.parametrize("end_of_it", ["os.kill(os.getpid(), 9)", "sys.exit(3)", "os.abort()"])
def test_whatever_it_dies_of_it_is_started_again_and_knows_that(tmp_path, end_of_it):
    with guarded(tmp_path, f"if again == '0':\n    os.write(int(say), b'started\\n'); {end_of_it}\nserve()") as it:
        until(lambda: it.told("started"))
        assert it.told("again")[-1] == "1"
        assert is_alive_pid(it.process.pid)


def test_one_killed_before_it_had_started_begins_as_the_first_again(tmp_path):
    once = (
        "if not os.path.exists(sys.argv[1] + '.once'):\n    open(sys.argv[1] + '.once', 'w'); os.kill(os.getpid(), 9)\n"
    )
    with guarded(tmp_path, once + "serve()") as it:
        it.pids(1)
        assert it.told("again")[-1] == "0"


def test_a_successor_that_finds_nothing_to_do_ends_it(tmp_path):
    script = "os.write(int(say), b'leave\\n') if again == '1' else os.write(int(say), b'started\\n')\nsys.exit(1)"
    with guarded(tmp_path, script) as it:
        assert it.process.wait(10) == 1


def test_delays_double_up_to_a_bound(tmp_path):
    assert (guard.FIRST_DELAY_S, guard.MOST_DELAY_S) == (0.1, 10.0)
    with guarded(tmp_path, "os.write(int(say), b'started\\n'); sys.exit(3)") as it:
        log = tmp_path / "guard.log"
        until(lambda: log.read_text().count("\n") >= 4)
        waits = [line.rsplit(" in ", 1)[1] for line in log.read_text().splitlines()[:4]]
        assert waits == ["0.1 s", "0.2 s", "0.4 s", "0.8 s"]
        assert it.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_passed_on_to_an_orchestrator_that_has_started(tmp_path, number):
    with guarded(tmp_path, "serve()") as it:
        it.pids(1)
        it.process.send_signal(number)
        assert it.process.wait(10) == 0
        assert it.told("said") == [f"signal {number.name}\n"]


def test_under_nohup_a_closed_terminal_ends_nobody(tmp_path):
    with guarded(tmp_path, "serve()", before=("nohup",)) as it:
        (pid,) = it.pids(1)
        it.process.send_signal(signal.SIGHUP)
        os.kill(pid, signal.SIGHUP)
        it.process.send_signal(signal.SIGINT)
        assert it.process.wait(10) == 0
        assert it.told("said") == ["signal SIGINT\n"]


def test_before_it_has_started_a_signal_just_ends_it(tmp_path):
    with guarded(tmp_path, "tell(); signal.pause()") as it:
        until(lambda: it.told("pid"))
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(10) == 128 + signal.SIGTERM


def test_whoever_ends_it_before_it_has_started_ends_both(tmp_path):
    with guarded(tmp_path, "tell(); os.kill(os.getpid(), signal.SIGTERM)") as it:
        assert it.process.wait(10) == 128 + signal.SIGTERM
        assert len(it.told("pid")) == 1


def test_a_signal_between_two_lives_is_told_to_the_next_one_at_once(tmp_path):
    with guarded(tmp_path, "if again == '0':\n    os.write(int(say), b'started\\n'); sys.exit(3)\nserve()") as it:
        until(lambda: "started again" in (tmp_path / "guard.log").read_text())
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(10) == 0
        assert "".join(it.told("said")).splitlines()[-1] == "signal SIGTERM"


def test_asked_to_end_it_starts_nothing_again_that_cannot_begin(tmp_path):
    script = "if again == '0':\n    os.write(int(say), b'started\\n'); sys.exit(3)\ntell(); sys.exit(4)"
    with guarded(tmp_path, script) as it:
        until(lambda: len(it.told("pid")) >= 2)
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(10) == 4


def test_a_word_that_a_signal_crossed_is_not_forgotten(tmp_path):
    script = "os.write(int(say), b'started\\nleave\\n'); tell(started=True); os.read(int(hear), 99); sys.exit(5)"
    with guarded(tmp_path, script) as it:
        it.pids(1)
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(10) == 5
        assert len(it.told("started")) == 1


def test_where_nothing_can_be_started_it_is_tried_again(tmp_path):
    with guarded(tmp_path, "serve()") as it:
        (first,) = it.pids(1)
        soft, hard = resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE, (4, hard))
        os.kill(first, signal.SIGKILL)
        until(lambda: "Too many open files" in (tmp_path / "guard.log").read_text())
        resource.prlimit(it.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert it.pids(2)[0] == first


def test_signals_in_quick_succession_start_no_second_one(tmp_path):
    with guarded(tmp_path, "if again == '0':\n    os.write(int(say), b'started\\n'); sys.exit(3)\nserve()") as it:
        until(lambda: "started again" in (tmp_path / "guard.log").read_text())
        for _ in range(20):
            it.process.send_signal(signal.SIGHUP)
        assert it.process.wait(10) == 0
        assert len(set(it.told("pid"))) == 1  # the first one tells nothing


def test_how_an_orphan_ended_is_told_to_every_orchestrator_from_then_on(tmp_path):
    with guarded(tmp_path, WITH_AN_ORPHAN) as it:
        (first,) = it.pids(1)
        orphan = identify(until(lambda: it.told("child"))[0])
        assert orphan is not None
        os.kill(first, signal.SIGKILL)
        second = it.pids(2)[1]
        os.kill(orphan.pid, signal.SIGTERM)
        line = f"reaped {orphan.pid} {orphan.start_ticks} {7 << 8}"
        assert until(lambda: it.told_of(orphan.pid)) == [line]
        os.kill(second, signal.SIGKILL)
        it.pids(3)
        assert until(lambda: it.told_of(orphan.pid)[1:]) == [line]


def test_what_ended_while_there_was_no_orchestrator_is_told_too(tmp_path):
    with guarded(tmp_path, WITH_AN_ORPHAN) as it:
        (first,) = it.pids(1)
        orphan = identify(until(lambda: it.told("child"))[0])
        assert orphan is not None
        os.kill(first, signal.SIGKILL)
        os.kill(orphan.pid, signal.SIGKILL)
        it.pids(2)
        assert until(lambda: it.told_of(orphan.pid)) == [f"reaped {orphan.pid} {orphan.start_ticks} 9"]


def test_how_an_orchestrator_ended_is_told_to_the_next_ones(tmp_path):
    with guarded(
        tmp_path,
        "if again == '0':\n    os.write(int(say), b'started\\n'); tell(started=True); sys.exit(3)\nserve()",
    ) as it:
        second = it.pids(2)[1]
        first = it.told("pid")[0]
        (line,) = until(lambda: it.told_of(first))
        assert line.endswith(f" {3 << 8}")
        found = identify(second)
        assert found is not None
        os.kill(second, signal.SIGKILL)
        assert until(lambda: it.told_of(second)) == [f"reaped {second} {found.start_ticks} 9"]


def test_it_leaves_no_zombies_and_never_wakes_without_a_reason(tmp_path):
    with guarded(tmp_path, WITH_AN_ORPHAN) as it:
        (first,) = it.pids(1)
        orphan = identify(until(lambda: it.told("child"))[0])
        os.kill(first, signal.SIGKILL)
        it.pids(2)
        os.kill(orphan.pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{orphan.pid}").exists())
        until(lambda: it.told_of(orphan.pid))
        asleep = until(lambda: switches(it.process.pid) if waits(it.process.pid) else 0)
        with pytest.raises(subprocess.TimeoutExpired):
            it.process.wait(1.0)
        assert switches(it.process.pid) == asleep


def test_it_says_whether_it_had_children_before_it_was_a_guard(tmp_path):
    command = [sys.executable, "-I", "-S", guard.__file__, "--", sys.executable, "-I", "-S", "-c"]
    command.append("import os; print(os.environ['COMFYGIT_JOURNAL_GUARD'].split(':')[-1])")
    for before in ("", "true &", "sleep 0.5 &"):
        shell = ["sh", "-c", f'{before} exec "$@"', "sh", *command]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=10, check=True)
        assert done.stdout == f"{int(bool(before))}\n"


def test_it_stays_small():
    imported = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        f"import sys; exec(open({guard.__file__!r}).read(), {{'__name__': 'g'}})",
    ]
    listed = subprocess.run(
        [*imported[:-1], imported[-1] + "; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    assert not {"pathlib", "subprocess", "typing", "re", "threading", "selectors"} & set(listed.stdout.split())


def is_alive_pid(pid: int) -> bool:
    found = identify(pid)
    return isinstance(found, Identity) and is_alive(found)


def status_of(pid: int, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(field))


def switches(pid: int) -> int:
    return int(status_of(pid, "voluntary_ctxt_switches"))


def waits(pid: int) -> bool:
    return status_of(pid, "State") == "S"
