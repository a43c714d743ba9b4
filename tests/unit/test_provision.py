"""When the `.venv` is kept, installed into or made anew."""

from pathlib import Path

import pytest

import provision

WANTED = {"state": "ready", "python": "3.11", "root": "/repo", "extras": "test", "project": "abc"}


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """A folder that looks like a venv."""
    python = provision.venv_python(tmp_path)
    python.parent.mkdir()
    python.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        ({}, "nothing"),
        ({"project": "older"}, "install"),
        ({"extras": ""}, "install"),
        ({"state": "incomplete"}, "rebuild"),
        ({"root": "/moved/from/here"}, "rebuild"),
        ({"python": "3.12"}, "rebuild"),
    ],
)
def test_what_differs_from_the_stamp_decides_what_is_done(venv, difference, expected):
    provision.write_stamp(venv, {**WANTED, **difference})
    assert provision.plan(venv, WANTED, check_python=True) == expected


def test_a_venv_with_the_test_extras_is_enough_for_the_demo(venv):
    provision.write_stamp(venv, WANTED)
    assert provision.plan(venv, {**WANTED, "extras": ""}, check_python=True) == "nothing"


def test_another_python_may_start_a_finished_venv(venv):
    provision.write_stamp(venv, {**WANTED, "python": "3.13"})
    assert provision.plan(venv, WANTED, check_python=False) == "nothing"


def test_a_venv_made_by_other_means_is_kept_and_installed_into(venv):
    assert provision.plan(venv, WANTED, check_python=True) == "install"


def test_a_stamp_that_cannot_be_read_counts_as_interrupted(venv):
    (venv / ".provisioned").write_text("{")
    assert provision.plan(venv, WANTED, check_python=True) == "rebuild"


def test_a_stamp_without_a_python_counts_for_nothing(tmp_path):
    provision.write_stamp(tmp_path, WANTED)
    assert provision.plan(tmp_path, WANTED, check_python=True) == "rebuild"
