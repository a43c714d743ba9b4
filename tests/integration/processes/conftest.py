"""What the tests of processes share."""

import pytest

from orchestrator.processes.children import Children
from tests.helpers.child_scripts import JOURNAL, KEY, end_all


@pytest.fixture
def children():
    """Whatever a test leaves running is killed, tree and all."""
    made = Children(JOURNAL)
    yield made
    end_all(made)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "logs" / "good" / f"{KEY}.log"
