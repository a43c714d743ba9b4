"""Every command of `comfygit-journal` has help that leads with an example."""

import pytest
from click.testing import CliRunner

from comfygit_journal.commands import PROGRAM, cli

COMMANDS = ["replay", "log", "show", "switches", "explain", "verify"]


def help_of(*arguments: str) -> str:
    result = CliRunner().invoke(cli, [*arguments, "--help"], prog_name=PROGRAM)
    assert result.exit_code == 0
    return result.output


def test_these_are_all_commands():
    assert list(cli.commands) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_an_example_of_the_command(command):
    shown = help_of(command)
    assert shown.startswith(f"Example: {PROGRAM} {command}")
    assert f"Usage: {PROGRAM} {command}" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_workspace_and_can_answer_in_json(command):
    shown = help_of(command)
    assert "--workspace DIR" in shown
    assert "--json" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    for parameter in cli.commands[command].params:
        if parameter.param_type_name == "option" and parameter.name != "output":
            assert getattr(parameter, "help", None), parameter.name


def test_the_overview_begins_with_an_example_and_names_every_command_in_full():
    shown = help_of()
    assert shown.startswith(f"Example: {PROGRAM} explain\n")
    assert "..." not in shown.partition("Commands:")[2]
    assert all(f"\n  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_a_command_is_one_that_it_understands(command):
    words = getattr(cli.commands[command], "example", "").split()
    assert words[:2] == [PROGRAM, command]
    with cli.commands[command].make_context(command, words[2:], resilient_parsing=False):
        pass


def test_the_version_is_told():
    result = CliRunner().invoke(cli, ["--version"], prog_name=PROGRAM)
    assert result.output.startswith(f"{PROGRAM}, version ")
