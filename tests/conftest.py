"""What every test gets: its kind by its folder, a clean environment, fixed seeds, and the plugins of this suite."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.helpers.scenario_ledger", "tests.helpers.leftovers", "tests.helpers.kit_fixtures"]

KIND_OF_FOLDER = {
    "unit": pytest.mark.unit,
    "simulation": pytest.mark.unit,
    "contract": pytest.mark.integration,
    "stateful": pytest.mark.integration,
    "integration": pytest.mark.integration,
    "e2e": pytest.mark.e2e,
}

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            kind = KIND_OF_FOLDER.get(item.path.relative_to(here).parts[0])
            if kind is not None:
                item.add_marker(kind)
            if item.get_closest_marker("e2e") and is_unmeasured(item):
                item.add_marker(pytest.mark.no_cover)


@pytest.fixture(autouse=True)
def clean_env_vars() -> Iterator[None]:
    """No `COMFYGIT_*` variable reaches a test from outside, and none that it sets outlives it."""
    outside = _take_our_variables()
    yield
    _take_our_variables()
    os.environ.update(outside)


MEASURED = {"test_rollback", "test_panel_loading", "test_syncing"}
"""Slow files that count for the coverage all the same."""


def is_unmeasured(item: pytest.Item) -> bool:
    """What slow tests start does not count for the coverage: to measure it takes as long again as the tests."""
    return item.path.stem not in MEASURED and any(map(item.get_closest_marker, ("slow", "e2e", "no_cover")))


@pytest.fixture(autouse=True)
def unmeasured_children(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow test starts is not measured for coverage."""
    if is_unmeasured(request.node):
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


def _take_our_variables() -> dict[str, str]:
    return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COMFYGIT_")}


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ComfyGit environments download, once for all workers: each needs uv itself, 20 MB."""
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "uv-cache"


@pytest.fixture(scope="session")
def orchestrator_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The orchestrator's venv, with this package and comfygit-core in it: once for all workers. Needs PyPI, and 5 to 30 s."""
    from orchestrator.bootstrap import build_wheel
    from orchestrator.panel import venv

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    wheel = build_wheel(tmp_path_factory.mktemp("release"))
    place = venv.venv_for(folder, wheel)
    venv.ensure(place, wheel)
    return place
