"""The content of an environment without a manifest repository, as text for the journal."""

from collections.abc import Iterable
from typing import Final

from journal.events import SavedFile
from journal.masking import mask
from orchestrator.environments.content_files import EXECUTABLE, FILE, LINK, ContentError, Entry, read_content
from orchestrator.workspace import EnvironmentPaths

MOST_FILE_BYTES: Final = 4 << 20
MOST_BYTES: Final = 16 << 20


def saved_files(paths: EnvironmentPaths) -> tuple[SavedFile, ...]:
    """All content, sorted by name. Raises ContentError for what the journal cannot or may not hold, a secret first of all."""
    found = read_content(paths)
    for name, entry in found.items():
        problem = _problem(name, entry)
        if problem:
            raise _not_kept(paths, f"{name!r} {problem}")
    if sum(len(entry.data) for entry in found.values()) > MOST_BYTES:
        raise _not_kept(paths, f"the files are larger than {MOST_BYTES >> 20} MiB together")
    return tuple(SavedFile(name, entry.data.decode("utf-8")) for name, entry in found.items())


def entries_of(files: Iterable[SavedFile]) -> dict[str, Entry]:
    """What `saved_files` was made of."""
    return {file.name: Entry(FILE, file.text.encode("utf-8")) for file in files}


def _problem(name: str, entry: Entry) -> str:
    if entry.mode == LINK:
        return "is a link"
    if entry.mode == EXECUTABLE:
        return "is marked executable, and only text is kept"
    if len(entry.data) > MOST_FILE_BYTES:
        return f"is larger than {MOST_FILE_BYTES >> 20} MiB"
    try:
        name.encode("utf-8")
        text = entry.data.decode("utf-8")
    except UnicodeError:
        return "is not UTF-8"
    return "seems to hold a secret (a password, a key or a token)" if mask(text) != text else ""


def _not_kept(paths: EnvironmentPaths, problem: str) -> ContentError:
    message = f"keeping the content of environment {paths.name!r} in the journal: {problem}"
    hint = f"put that right in {paths.root}; secrets belong into variables of the environment, as uv reads them"
    return ContentError(message, hint)
