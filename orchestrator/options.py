"""What the commands of `comfygit-orchestrator` have in common: options, the order in which they are listed, how they print."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


class Group(click.Group):
    """Commands in the order in which they are needed, and an example before everything else."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of definition."""
        return list(self.commands)


def workspace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--workspace DIR`, as a path or None."""
    return click.option(
        "--workspace",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="The workspace. Default: COMFYGIT_HOME, ~/comfygit, or the folders from here up.",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def print_result(text: str, facts: Any, *, as_json: bool) -> None:
    """To stdout: `facts` as JSON, or `text`."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else text)


def environment_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--environment NAME`, "" when it is not given. An empty name raises WorkspaceError."""
    return click.option(
        "--environment",
        metavar="NAME",
        callback=_given_name,
        help="The environment to start; default: the last one.",
    )(function)


def _given_name(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str:
    """What was given, "" for nothing. Raises WorkspaceError for an empty name, which would mean nothing."""
    from orchestrator.workspace import WorkspaceError, name_problem

    if name == "":
        raise WorkspaceError(name_problem(name), "leave --environment out for the one that served last")
    return name or ""
