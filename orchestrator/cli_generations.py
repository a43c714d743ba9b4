"""The commands about what was healthy: `generations` with its subcommands, and `rollback`. Parsed here, done elsewhere."""

import sys
from pathlib import Path

import click

from orchestrator.options import Group, json_option, workspace_option


@click.group(cls=Group, invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
def generations(context: click.Context, workspace: Path | None, *, as_json: bool) -> None:
    """List what was healthy, newest first, and what changed from one to the next: where a rollback can go.

    \b
    Example:
      comfygit-orchestrator generations
      comfygit-orchestrator generations pin 184 before-the-update
    """
    from orchestrator import generation_commands

    if context.invoked_subcommand is None:
        sys.exit(generation_commands.generations(workspace, as_json=as_json))
    if workspace is not None or as_json:
        message = f"options belong behind the subcommand, as in: generations {context.invoked_subcommand} 184 --json"
        raise click.UsageError(message)


@generations.command()
@workspace_option
@json_option
@click.argument("generation")
@click.argument("name", default="")
def pin(workspace: Path | None, generation: str, name: str, *, as_json: bool) -> None:
    """Remember a generation for good, under NAME if one is given.

    \b
    Example:
      comfygit-orchestrator generations pin 184 before-the-update
      comfygit-orchestrator rollback --to before-the-update
    """
    from orchestrator import generation_commands

    sys.exit(generation_commands.pin(workspace, generation, name, as_json=as_json))


@generations.command()
@workspace_option
@json_option
@click.argument("generation")
def unpin(workspace: Path | None, generation: str, *, as_json: bool) -> None:
    """Remember a generation no longer than any other.

    \b
    Example:
      comfygit-orchestrator generations unpin before-the-update
    """
    from orchestrator import generation_commands

    sys.exit(generation_commands.unpin(workspace, generation, as_json=as_json))


@click.command()
@workspace_option
@json_option
@click.option(
    "--to", "generation", metavar="GENERATION", help="Its number or pinned name. Default: the one before what serves."
)
@click.option("--dry-run", is_flag=True, help="Only say what it would write and install.")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="Give up waiting after S seconds.")
def rollback(
    workspace: Path | None, generation: str | None, *, dry_run: bool, timeout_s: float | None, as_json: bool
) -> None:
    """Go back to an environment that was healthy, and to its content. What is there now is saved first.

    \b
    Example:
      comfygit-orchestrator rollback --dry-run
      comfygit-orchestrator rollback --to 184
    """
    from orchestrator import generation_commands

    sys.exit(generation_commands.rollback(workspace, generation, dry_run=dry_run, timeout_s=timeout_s, as_json=as_json))
