"""Set-ups of one checkout, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import provision

HOLD = """
import pathlib, provision, sys
with provision.exclusively(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


def start(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock on `path` until its stdin ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=Path(provision.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_set_up_says_that_it_waits_and_goes_on_after_the_first(tmp_path):
    guarded = tmp_path / "pyproject.toml"
    guarded.touch()
    with start(guarded) as first:
        assert first.stdout.readline() == "mine\n"
        with start(guarded) as second:
            assert second.stderr.readline() == "another set-up of this checkout is under way: waiting for it\n"
            first.communicate()
            assert second.communicate() == ("mine\n", "")
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_set_up_that_is_killed_does_not_hold_up_the_next(tmp_path):
    guarded = tmp_path / "pyproject.toml"
    guarded.touch()
    with start(guarded) as first:
        assert first.stdout.readline() == "mine\n"
        first.kill()
        with start(guarded) as second:
            assert second.communicate()[0] == "mine\n"
    assert second.returncode == 0
