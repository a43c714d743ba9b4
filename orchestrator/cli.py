"""The command line `comfygit-orchestrator`: parse, ask, print. What is asked is in `asking`, what is shown in `showing`."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import click

from orchestrator import cli_generations
from orchestrator.errors import OrchestratorError
from orchestrator.options import Group, environment_option, json_option, workspace_option

ARGS: Final = "--args"
"""All after it is for ComfyUI, whatever it looks like."""


class Invocation(NamedTuple):
    """How we were called: what follows `--args` (None without it), and whether the process is ours alone."""

    comfyui_arguments: tuple[str, ...] | None
    is_the_program: bool


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="comfygit-orchestrator")
def cli() -> None:
    """Run ComfyUI environments, and switch between them without ever being left with none.

    \b
    Example:
      comfygit-orchestrator run --environment stable --args --port 8188
      comfygit-orchestrator switch nightly --wait
    """


@cli.command()
@workspace_option
@environment_option
@click.option("--detached", is_flag=True, hidden=True)
@click.pass_context
def run(context: click.Context, workspace: Path | None, environment: str, *, detached: bool) -> None:
    """Supervise in the foreground, ComfyUI's output shown; Ctrl-C ends it.

    \b
    Example:
      comfygit-orchestrator run --environment stable --args --port 8188 --cpu
    All after --args goes to ComfyUI.
    """
    from orchestrator.workspace import open_workspace

    opened = open_workspace(workspace)
    _be_guarded(opened.metadata, is_the_program=context.find_root().obj.is_the_program)
    from orchestrator.endpoint import endpoint_problem
    from orchestrator.guarding import GuardLink
    from orchestrator.launching import launcher
    from orchestrator.own_log import own_log
    from orchestrator.running import RunOptions, run_orchestrator, start_under
    from orchestrator.starting import StartOptions

    guard = GuardLink.take()
    arguments = _comfyui_arguments(context, default=None if detached else ())
    start = StartOptions(environment=environment, arguments=arguments)
    if guard is not None:
        start = start_under(guard, start)
    options = RunOptions(start=start, foreground=not detached, launcher=launcher(), guard=guard)
    with own_log(None if detached else opened.metadata / "orchestrator.log"):
        problem = endpoint_problem(arguments or ())
        if problem:
            logging.getLogger(__name__).warning("%s", problem)
        sys.exit(run_orchestrator(opened, options))


def _be_guarded(metadata: Path, *, is_the_program: bool) -> None:
    """See that a guard is our parent: become it, if there is none. First of all, one that supervises already is named."""
    from orchestrator.guard import ENVIRON
    from orchestrator.guarded_start import become_guard, is_possible
    from orchestrator.occupancy import IS_ENDED_BY, holder_in_words, is_held, refusal

    if ENVIRON in os.environ:
        return
    if is_held(metadata):
        raise OrchestratorError(refusal(metadata.parent, holder_in_words(metadata)), IS_ENDED_BY)
    if is_the_program and is_possible():
        become_guard()


@cli.command()
@workspace_option
@json_option
@environment_option
@click.pass_context
def spawn(context: click.Context, workspace: Path | None, environment: str, *, as_json: bool) -> None:
    """Supervise in the background.

    \b
    Example:
      comfygit-orchestrator spawn --environment stable --args --port 8188
    """
    from orchestrator import commands

    arguments = _comfyui_arguments(context, default=None)
    sys.exit(commands.spawn(workspace, environment, arguments, as_json=as_json))


@cli.command()
@workspace_option
@json_option
@click.argument("target")
@click.option("--wait", is_flag=True, help="Wait for the end, showing progress; exit 1 unless TARGET serves.")
@click.option("--timeout", "timeout_s", type=float, metavar="S", help="With --wait: give up waiting after S seconds.")
def switch(workspace: Path | None, target: str, *, wait: bool, timeout_s: float | None, as_json: bool) -> None:
    """Switch to environment TARGET.

    \b
    Example:
      comfygit-orchestrator switch nightly --wait
    """
    from orchestrator import commands

    sys.exit(commands.switch(workspace, target, wait=wait, timeout_s=timeout_s, as_json=as_json))


@cli.command()
@workspace_option
@json_option
def restart(workspace: Path | None, *, as_json: bool) -> None:
    """Start the same environment again.

    \b
    Example:
      comfygit-orchestrator restart
    """
    from orchestrator import commands

    sys.exit(commands.restart(workspace, as_json=as_json))


@cli.command()
@workspace_option
@json_option
def stop(workspace: Path | None, *, as_json: bool) -> None:
    """Stop ComfyUI, and the orchestrator with it.

    \b
    Example:
      comfygit-orchestrator stop
    """
    from orchestrator import commands

    sys.exit(commands.stop(workspace, as_json=as_json))


@cli.command()
@workspace_option
@json_option
def abort(workspace: Path | None, *, as_json: bool) -> None:
    """End the switch under way; what served before serves again.

    \b
    Example:
      comfygit-orchestrator abort
    """
    from orchestrator import commands

    sys.exit(commands.abort(workspace, as_json=as_json))


cli.add_command(cli_generations.rollback)


@cli.command()
@workspace_option
@json_option
@click.option("--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
def status(workspace: Path | None, *, watch: bool, as_json: bool) -> None:
    """Say what serves, and what is being done.

    \b
    Example:
      comfygit-orchestrator status
    """
    from orchestrator import status_command

    sys.exit(status_command.status(workspace, watch=watch, as_json=as_json))


cli.add_command(cli_generations.generations)


@cli.command("install-panel")
@workspace_option
@json_option
@click.argument("environment")
@click.option("--remove", is_flag=True, help="Take it out again.")
def install_panel(workspace: Path | None, environment: str, *, remove: bool, as_json: bool) -> None:
    """Put the panel into the ComfyUI of ENVIRONMENT, as a custom node.

    \b
    Example:
      comfygit-orchestrator install-panel stable
    """
    from orchestrator import panel_command

    sys.exit(panel_command.install_panel(workspace, environment, remove=remove, as_json=as_json))


@cli.command("panel-switch", hidden=True)
@workspace_option
@click.option("--target", required=True)
@click.option("--source", default="")
@click.option("--comfyui-pid", type=int, required=True)
@click.pass_context
def panel_switch(context: click.Context, workspace: Path | None, target: str, source: str, comfyui_pid: int) -> None:
    """Switch in the name of the ComfyUI whose page asks: what our panel calls. Prints JSON; exit 1 unless granted."""
    import json

    from orchestrator.panel_switch import PanelAsk, switch_for_panel

    arguments = _comfyui_arguments(context, default=()) or ()
    answer = switch_for_panel(workspace, PanelAsk(target, source, comfyui_pid, arguments))
    click.echo(json.dumps(answer, ensure_ascii=False))
    sys.exit(0 if answer["error"] is None else 1)


def split_arguments(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Our own arguments, and what follows `--args` (None without it). A panel starts us with options and no command."""
    from orchestrator.endpoint import user_arguments

    ours = list(argv)
    theirs: tuple[str, ...] | None = None
    if ARGS in ours:
        theirs = tuple(user_arguments(ours))
        ours = ours[: ours.index(ARGS)]
    if ours and ours[0].startswith("--") and ours[0] not in {"--help", "--version"}:
        ours = ["run", "--detached", *ours]
        theirs = theirs or ()
    return ours, theirs


def _comfyui_arguments(context: click.Context, default: tuple[str, ...] | None) -> tuple[str, ...] | None:
    given = context.find_root().obj.comfyui_arguments
    return default if given is None else given


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    `run` replaces the process by a guard and does not return; not with `argv` given: then somebody else's process is ours too.
    """
    from journal.errors import JournalError

    ours, theirs = split_arguments(sys.argv[1:] if argv is None else argv)
    try:
        invocation = Invocation(theirs, is_the_program=argv is None)
        cli.main(args=ours, prog_name="comfygit-orchestrator", standalone_mode=False, obj=invocation)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except (OrchestratorError, JournalError) as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        return 1
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        return 130
    return 0
