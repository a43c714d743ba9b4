"""`explain`: the story of one switch."""

from pathlib import Path
from typing import Final

from comfygit_journal.errors import CommandError
from comfygit_journal.lines import as_json
from comfygit_journal.opening import reading
from comfygit_journal.present import present_of
from comfygit_journal.reading import Reader, Row
from comfygit_journal.story_text import story_document, story_text
from journal.codec import Recorded
from journal.events import SwitchRefused, SwitchRequested
from projections.story import NoSuchStoryError, is_last_of, story_of

_CONTEXT: Final = 60
"""Events before the request that may explain it."""
_BEGUN: Final = SwitchRequested.stored_name
_REFUSED: Final = SwitchRefused.stored_name


def explain(root: Path | None, switch: int | None, *, as_document: bool) -> int:
    """Print the story of `switch`, or of the newest one. Raises CommandError when there is none."""
    with reading(root) as (workspace, reader):
        try:
            number = _newest(reader) if switch is None else _checked(reader, switch)
            story = story_of(_events(reader, number), number)
        except (CommandError, NoSuchStoryError):
            if reader.damage is None:
                raise
            return 1  # it may lie in the damage, which is what is said then
        present = present_of(reader)
        if as_document:
            print(as_json(story_document(story, present), indent=2))
        else:
            print(story_text(story, present, str(workspace.root)))
    return 0


def _newest(reader: Reader) -> int:
    """The newest switch that was begun; only where none ever was, the newest refusal."""
    found = reader.newest_of([_BEGUN], 1) or reader.newest_of([_REFUSED], 1)
    if found:
        return found[0].seq
    message = "explaining the newest switch: there has been none"
    raise CommandError(message, "ask for one with `comfygit-orchestrator switch ENVIRONMENT`")


def _checked(reader: Reader, switch: int) -> int:
    row = reader.row(switch)
    if row is not None and row[2] in {_BEGUN, _REFUSED}:
        return switch
    message = f"explaining switch {switch}: event {switch} {_instead(row)}"
    raise CommandError(message, "`comfygit-journal switches` lists every switch by its number")


def _instead(row: Row | None) -> str:
    if row is None:
        return "is not there, or cannot be read"
    belongs = f", and belongs to switch {row[8]}" if row[8] is not None else ""
    return f"is {row[2]}{belongs}"


def _events(reader: Reader, switch: int) -> list[Recorded]:
    """What the story needs: some events before, and all up to its end."""
    found: list[Recorded] = []
    for recorded in reader.events(max(0, switch - 1 - _CONTEXT)):
        if recorded.seq > switch and isinstance(recorded.event, SwitchRequested):
            break
        found.append(recorded)
        if is_last_of(recorded, switch):
            break
    return found
