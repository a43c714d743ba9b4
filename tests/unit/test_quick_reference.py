"""The quick reference: made from the code, complete, and in step with it."""

import re
import sys
from collections.abc import Iterator

import click
import pytest

import quick_reference
from comfygit_journal.commands import cli as journal_cli
from orchestrator.cli import cli as orchestrator_cli
from orchestrator.control import refusing
from projections import views

PANEL = '''
async def status(request):
    """The status document.

    More about it.
    """

ROUTES = {("GET", "/v2/comfygit/switch_status"): status}
'''


@pytest.fixture(scope="module")
def page() -> str:
    return quick_reference.render()


class Supervisor:
    """Supervises.

    At length.
    """

    EXIT_RESTART = 42

    def __init__(self, root: str, args: list[str] | None = None) -> None: ...

    def run_forever(self) -> int:
        return self.EXIT_RESTART

    def _sync(self, name: str = "") -> bool | None:
        """Somebody calls it."""
        return None if name else False

    def _internal(self) -> None:
        self._sync()


def test_the_page_in_the_repo_is_up_to_date(page):
    assert quick_reference.TARGET.read_text("utf-8") == page, "run tools/quick_reference.py"


def test_it_fits_on_two_pages(page):
    assert sum(line.startswith("|") for line in page.splitlines()) <= 170


def commands_of(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All that are shown, subcommands under both names."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield before + name, command
        if isinstance(command, click.Group):
            yield from commands_of(command, f"{before}{name} ")


@pytest.mark.parametrize("group", [orchestrator_cli, journal_cli], ids=["orchestrator", "journal"])
def test_every_command_is_there_with_its_options(page, group):
    for name, command in commands_of(group):
        named = re.compile(rf"\| `{name}(`| [A-Z\[])")
        [line] = [line for line in page.splitlines() if named.match(line)]
        shown = [option for option in command.params if not getattr(option, "hidden", False)]
        assert all(
            option.opts[-1] in line for option in shown if option.opts[0].startswith("-") if option.name != "workspace"
        )


def test_every_view_and_every_route_of_the_control_server_is_there(page):
    assert all(f"| `{name}` |" in page for name in views.WHEN_TAKING)
    assert all(f"{path}`" in page for path in refusing.READ_PATHS | refusing.ACTING_PATHS)


def test_nothing_is_without_a_word_about_it(page):
    assert [line for line in page.splitlines() if line.endswith("|  |")] == []


def test_a_variable_that_is_not_described_is_an_error_that_says_where_to(capsys):
    with pytest.raises(SystemExit) as left:
        quick_reference.variables('os.environ["COMFYGIT_NEW_ONE"]', {"COMFYGIT_HOME": "the workspace"})
    assert "COMFYGIT_NEW_ONE" in str(left.value)
    assert "tools/quick_reference_texts.py" in str(left.value)


def test_a_described_variable_that_the_code_does_not_use_is_left_out():
    described = {"COMFYGIT_HOME": "the workspace", "COMFYGIT_OLD": "gone"}
    assert quick_reference.variables('"COMFYGIT_HOME", "COMFYGIT_"', described) == [
        ("`COMFYGIT_HOME`", "the workspace")
    ]


def test_a_class_is_shown_with_its_codes_and_the_methods_that_say_what_they_are_for():
    assert quick_reference._named("Supervisor", Supervisor, quick_reference._says_what_for) == (
        "`Supervisor(root, args=None)`",
        "Supervises. `EXIT_RESTART` 42, `run_forever() -> int`, `_sync(name='') -> bool | None`",
    )


def test_routes_of_a_panel_are_shown_with_the_first_line_about_each(tmp_path, monkeypatch):
    (tmp_path / "a_panel.py").write_text(PANEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(quick_reference, "PANEL", "a_panel")
    monkeypatch.setitem(sys.modules, "a_panel", None)
    monkeypatch.delitem(sys.modules, "a_panel")
    assert list(quick_reference._panel_routes()) == [("`GET /v2/comfygit/switch_status`", "The status document.")]


def test_without_a_panel_there_are_no_routes_of_one(monkeypatch):
    monkeypatch.setattr(quick_reference, "PANEL", "orchestrator.no_panel.routes")
    assert list(quick_reference._panel_routes()) == []
