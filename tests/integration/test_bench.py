"""The bench measures, and leaves nothing behind. What it measures is not judged here: a figure of a test run says nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import report
from bench.command import BEGIN, END, ROWS, write_readme
from bench.figures import Budget, Row, Sample, quantile
from tests.helpers.waiting import until

RUN = Path(__file__).parents[2] / "tools" / "bench" / "run"
MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "cpu": "a CPU",
    "cores": 2,
    "memory_gib": 8.0,
    "kernel": "6.1",
    "python": "3.11.7",
    "sqlite": "3.40.1",
    "file_system": "ext4",
    "peers": {"runit": "2.1.2"},
}
ROW = Row(
    "respawn",
    "exit to start",
    "ms",
    Sample("ours", (10.0, 12.0, 30.0)),
    (Sample("bare", (4.0, 5.0, 6.0)),),
    (Sample("slow", (1000.0,)), Sample("quick", (8.0,)), Sample("absent", note="not installed: no network")),
    Budget(15.0, 25.0),
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """Where the bench writes, instead of into the repo. It is as it was when the bench has ended."""
    monkeypatch.setenv("BENCH_HOME", str(tmp_path / "bench"))
    yield tmp_path / "bench"
    assert not list(tmp_path.glob("bench/*"))


@pytest.fixture
def run(monkeypatch, home) -> list[str]:
    """The command, whose children are not measured for coverage: that takes longer than they do."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    return [sys.executable, str(RUN)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_row_without_peers_comes_out_in_the_table_and_in_the_json(run, tmp_path):
    written = tmp_path / "figures.json"
    done = subprocess.run(
        [*run, "--quick", "--no-peers", "--json", written], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(written.read_text())
    assert {"date", "cpu", "cores", "kernel", "python", "file_system"} <= document["machine"].keys()
    for row in document["rows"]:
        assert f"{row['what']}, {row['unit']}" in done.stdout
        ours = next(sample for sample in row["samples"] if sample["who"] == row["ours"])
        assert ours["n"] == len(ours["values"]) or ours["note"]
    assert all(f"{name}: " in done.stderr for name in ROWS)


@pytest.mark.slow
def test_ctrl_c_ends_all_that_was_started(run, home):
    """What lives on would be found by the end of the test run, which looks for it; and the folder is gone."""
    with subprocess.Popen([*run, "idle", "--no-peers"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until(lambda: list(home.glob("run-*/ours-*/.metadata/journal.head")))
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert b"interrupted" in said


def test_an_unknown_row_is_wrong_usage(run):
    done = subprocess.run([*run, "respwan"], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 2
    assert "respwan" in done.stderr


def test_a_quantile_is_one_of_the_values():
    values = [float(number) for number in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert quantile([7.0], 0.99) == 7.0


def test_a_budget_holds_for_the_typical_and_for_the_worst():
    assert ROW.is_met is False  # 30 > 25
    assert Budget(15.0, 30.0).is_met(12.0, 30.0)
    assert not Budget(200.0, at_least=True).is_met(150.0, 150.0)
    assert Row("x", "x", "ms", Sample("ours", note="failed")).is_met is None


def test_the_table_compares_with_the_floor_and_the_best_peer_and_names_who_is_not_there():
    ours, bare, slow, quick, absent = report.table([ROW])
    assert ours == ("exit to start, ms", "ours", "12", "30", "3", "2.40", "1.50", "15 / 25", "NO")
    assert bare[1:5] == ("bare", "5", "6", "3")
    assert (slow[2], quick[2]) == ("1,000", "8")
    assert absent[1] == "absent: not installed: no network"


def test_counts_are_added_up():
    row = Row("x", "survivors", "processes", Sample("ours", (0.0, 2.0, 1.0)), budget=Budget(0.0), counted=True)
    (line,) = report.table([row])
    assert line[2:5] == ("3", "2", "3")
    assert line[-1] == "NO"


def test_the_readme_gets_the_table_in_place_of_the_old_one(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_readme(readme, report.as_markdown([ROW], MACHINE))
    text = readme.read_text()
    assert "old" not in text
    assert "2026-01-02: 2 cores of a CPU" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_readme_without_a_place_for_the_figures_is_left_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("nothing here\n")
    with pytest.raises(ValueError, match="no place for the figures"):
        write_readme(readme, "table")
    assert readme.read_text() == "nothing here\n"
