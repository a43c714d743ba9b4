"""`verify`: whether the journal is what was written."""

from pathlib import Path

from comfygit_journal.escaping import escaped
from comfygit_journal.lenient import LenientJournal
from comfygit_journal.lines import as_json
from comfygit_journal.reading import Reader
from journal.chain import Verdict, verify
from journal.errors import JournalDamaged
from journal.store import Journal
from orchestrator.workspace import open_workspace


def check(root: Path | None, *, as_document: bool) -> int:
    """Print the verdict; 0 when all is well, else 1."""
    workspace = open_workspace(root)
    with LenientJournal.open_readonly(workspace.journal_path) as journal:
        try:
            journal.head()
            verdict = verify(journal)
        except JournalDamaged as exc:
            verdict = _verdict_without_end(journal, exc)
    print(as_json(_document(verdict), indent=2) if as_document else verdict_text(verdict))
    return 0 if verdict.ok else 1


def _verdict_without_end(journal: Journal, damage: JournalDamaged) -> Verdict:
    """Where not even the last event can be read: what can be, and from where on it cannot."""
    readable = [row[0] for row in Reader(journal).rows()]
    first = next((number for number, seq in enumerate(readable, 1) if seq != number), len(readable) + 1)
    problem = f"event {first} cannot be read: {damage.what}; whether the others are as written was not checked"
    return Verdict(len(readable), first, (problem,), journal.anchor())


def verdict_text(verdict: Verdict) -> str:
    """The verdict for people. Pure."""
    if verdict.ok:
        return f"the journal is whole: {verdict.events} events, each as it was written, none missing"
    first = verdict.first_damaged_seq
    where = "" if first is None else f"; the first damage is at event {first}"
    return "\n".join(
        [f"the journal is damaged: {verdict.events} events could be read{where}"]
        + [f"  {escaped(problem)}" for problem in verdict.problems]
    )


def _document(verdict: Verdict) -> dict[str, object]:
    return {
        "ok": verdict.ok,
        "events": verdict.events,
        "first_damaged_seq": verdict.first_damaged_seq,
        "problems": list(verdict.problems),
        "head_file": verdict.anchor.value,
    }
