"""The whole command line, by click: options, help, and how errors are said. What a command does has its own module."""

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from comfygit_journal.errors import CommandError, error_lines

PROGRAM: Final = "comfygit-journal"
_LINE_LENGTH: Final = 120


class _WithExample(click.Command):
    """A command whose help begins with an example."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def get_short_help_str(self, limit: int = 0) -> str:
        """The whole first line, never cut."""
        return super().get_short_help_str(max(limit, _LINE_LENGTH))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"Example: {self.example}\n\n")
        super().format_help(ctx, formatter)


class _Group(_WithExample, click.Group):
    """Its commands in the order of definition."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


def _of_group(ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """`--workspace` may also stand before the command."""
    given: Path | None = ctx.find_root().params.get("workspace")
    return given if value is None else value


def _workspace_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--workspace",
        metavar="DIR",
        type=click.Path(path_type=Path),
        callback=_of_group,
        help="The workspace. Default: COMFYGIT_HOME, ~/comfygit, or the folders from here up.",
    )(function)


def _json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


@click.group(
    PROGRAM,
    cls=_Group,
    example="comfygit-journal explain",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@_workspace_option
@click.version_option(package_name="comfygit-orchestrator")
def cli(workspace: Path | None) -> None:
    """Say what happened in a workspace, why, and what its files must hold.

    Everything is read from its journal, whether an orchestrator is at work or not.
    """


@cli.command(cls=_WithExample, example="comfygit-journal replay")
@_workspace_option
@_json_option
@click.option("--until", metavar="SEQ|TIME", help="The state then; nothing is compared.")
@click.option("--write", is_flag=True, help="Restore the files that differ.")
@click.option("--last-healthy", is_flag=True, help="Only name what a rollback would go back to.")
def replay(workspace: Path | None, until: str | None, *, write: bool, last_healthy: bool, as_json: bool) -> int:
    """Fold the journal, show the state, and compare every file that follows from it.

    Exit status 0 when all views agree, 1 with the differences.
    """
    from comfygit_journal import replay_command

    return replay_command.replay(workspace, until, write=write, last_healthy=last_healthy, as_document=as_json)


@cli.command(cls=_WithExample, example="comfygit-journal log -n 20")
@_workspace_option
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="N", help="Only the last N that fit.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="TIME", help="Only what was stamped then or later.")
@click.option("--until", metavar="TIME", help="Only what was stamped then or earlier.")
@click.option("--switch", type=int, metavar="N", help="Only what belongs to this switch.")
@click.option("--type", "types", metavar="GLOB", multiple=True, help="Only events of such a name, as in 'switch.*'.")
@click.option("-o", "--output", type=click.Choice(["short", "json", "jsonl", "csv", "table"]), default="short")
def log(workspace: Path | None, *, as_json: bool, output: str, **choice: Any) -> int:
    """Print events as they are stored, oldest first.

    TIME is a date, a time (ISO 8601), yesterday, or how long ago: 10m, 2h.
    """
    from comfygit_journal import log_command

    wish = log_command.wish_of(output="json" if as_json else output, **choice)
    return log_command.log(workspace, wish)


@cli.command(cls=_WithExample, example="comfygit-journal show 184")
@_workspace_option
@_json_option
@click.argument("seq", type=click.IntRange(min=1))
def show(workspace: Path | None, seq: int, *, as_json: bool) -> int:
    """Print everything about event SEQ, and what it was caused by."""
    from comfygit_journal import show_command

    return show_command.show(workspace, seq, as_document=as_json)


@cli.command(cls=_WithExample, example="comfygit-journal switches")
@_workspace_option
@_json_option
def switches(workspace: Path | None, *, as_json: bool) -> int:
    """List every switch: when, from where to where, how it ended."""
    from comfygit_journal import switch_list

    return switch_list.switches(workspace, as_document=as_json)


@cli.command(cls=_WithExample, example="comfygit-journal explain")
@_workspace_option
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@click.argument("switch", type=click.IntRange(min=1), required=False)
def explain(workspace: Path | None, switch: int | None, *, output: str, as_json: bool) -> int:
    """Tell the story of SWITCH, or of the newest one: what was asked, what went wrong, what serves, what to do.

    Exit status 1 when there is no such switch.
    """
    from comfygit_journal import explain_command

    return explain_command.explain(workspace, switch, as_document=as_json or output == "json")


@cli.command(cls=_WithExample, example="comfygit-journal verify")
@_workspace_option
@_json_option
def verify(workspace: Path | None, *, as_json: bool) -> int:
    """Check that every event is as it was written, and that none is missing.

    Exit status 0 when the journal is whole, else 1.
    """
    from comfygit_journal import verify_command

    return verify_command.check(workspace, as_document=as_json)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit status. Ctrl-C and a broken pipe are the caller's."""
    from journal.errors import JournalError
    from orchestrator.errors import OrchestratorError

    try:
        with cli.make_context(PROGRAM, list(arguments)) as context:
            return cli.invoke(context) or 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        print(exc.format_message(), file=sys.stderr)
        return exc.exit_code
    except click.ClickException as exc:
        return _complain(*_said(exc), exc.exit_code)
    except (CommandError, OrchestratorError, JournalError) as exc:
        return _complain(exc.message, exc.hint, exc.exit_code if isinstance(exc, CommandError) else 1)
    except (BrokenPipeError, click.Abort):
        raise
    except Exception:  # noqa: BLE001 - said in full, with a traceback
        traceback.print_exc()
        return _complain("this is a bug in comfygit-journal", "report it, with the lines above", 1)


def _said(exc: click.ClickException) -> tuple[str, str]:
    context = getattr(exc, "ctx", None)
    command = PROGRAM if context is None else context.command_path
    return exc.format_message(), f"`{command} --help` tells what is possible"


def _complain(message: str, hint: str, code: int) -> int:
    sys.stdout.flush()
    for line in error_lines(message, hint):
        print(line, file=sys.stderr)
    return code
