"""`replay`: from the journal alone, the state, and what every file must hold."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comfygit_journal.errors import CommandError, UsageError
from comfygit_journal.lines import as_json
from comfygit_journal.opening import now, reading
from comfygit_journal.reading import Reader
from comfygit_journal.replay_text import (
    candidate_lines,
    candidates,
    difference_documents,
    difference_lines,
    state_document,
    state_lines,
    summary,
)
from comfygit_journal.replaying import Folded, differences, fold_journal, restore
from comfygit_journal.times import TimeUnclearError, parse_time


def replay(root: Path | None, until: str | None, *, write: bool, last_healthy: bool, as_document: bool) -> int:
    """Print the state and how the files stand to it; 0 when all agree. Raises CommandError, JournalError."""
    if write and (until is not None or last_healthy):
        other = "--until" if until is not None else "--last-healthy"
        message = f"--write restores the files of the present; it cannot be combined with {other}"
        raise UsageError(message, f"leave out {other}")
    with reading(root) as (workspace, reader):
        seq = None if until is None else _seq(reader, until)
        folded = fold_journal(reader.journal, seq)
        if folded.problem is not None or seq is not None or last_healthy:
            return _without_files(folded, last_healthy=last_healthy, as_document=as_document)
        if write:
            state, restored, wrong = restore(workspace.journal_path, workspace.metadata)
        else:
            state, wrong = differences(reader.journal, workspace.metadata, folded.state)
            restored = ()
        if as_document:
            document = state_document(state) | {
                "views_agree": not wrong,
                "differences": difference_documents(wrong),
                "restored": [difference.name for difference in restored],
            }
            print(as_json(document, indent=2))
        else:
            restorations = [f"restored {difference.name}" for difference in restored]
            _print([*state_lines(state), *restorations, *difference_lines(wrong), summary(wrong)])
    return 1 if wrong else 0


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _without_files(folded: Folded, *, last_healthy: bool, as_document: bool) -> int:
    """What is asked of a state that the files need not agree with. Raises the error that ended the fold, in the end."""
    state = folded.state
    found = candidates(state)
    document: dict[str, Any] = state_document(state)
    if last_healthy:
        targets = [{"environment": target.environment, "generation": target.generation} for target in found]
        document = {"seq": state.seq, "rollback_targets": targets}
    if as_document:
        print(as_json(document, indent=2))
    else:
        _print(candidate_lines(state, found) if last_healthy else state_lines(state))
    if folded.problem is not None:
        raise folded.problem
    if last_healthy and not found:
        message = "looking for the last healthy environment to go back to: there is none"
        raise CommandError(message, "one is known once another environment has been seen healthy")
    return 0


def _seq(reader: Reader, until: str) -> int:
    """The event that `until` names: a seq, or a time, for which it is the last one stamped at or before it."""
    head = reader.head()
    if until.isascii() and until.isdigit():
        seq = int(until)
        if not 1 <= seq <= head:
            message = f"replaying until event {seq}: there are events 1 to {head}"
            raise CommandError(message, "give one of those, or a time")
        return seq
    try:
        until_ns = parse_time(until, now())
    except TimeUnclearError as exc:
        raise UsageError(f"--until {exc}, and no event's number", exc.hint) from exc
    found = reader.newest(1, lambda row: isinstance(row[4], int) and row[4] <= until_ns, until=head)
    if not found:
        message = f"replaying until {until}: the journal begins later"
        raise CommandError(message, "`comfygit-journal show 1` says when")
    return int(found[0][0])
