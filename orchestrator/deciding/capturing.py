"""What was just seen healthy is kept, so that it can be brought back: beside the running ComfyUI."""

from journal.events import CaptureSkipped, CaptureStarted
from orchestrator.actions import Decision, StartCapture
from orchestrator.deciding.needs import capture_due
from orchestrator.deciding.situation import Situation
from projections.generations import content_of
from projections.state import WorkspaceState


def capture(situation: Situation) -> Decision | None:
    """Keep the content of what serves, where that is not done yet; None when there is nothing to do."""
    due = capture_due(situation.state)
    if due is None:
        return None
    facts = situation.environment(due.environment)
    if facts is None or (facts.fingerprint is None and not facts.problem):
        return situation.look_again()
    here = content_of(facts.fingerprint or "")
    if facts.problem or not here or here != due.content:
        changed = "its files were changed before they could be kept" if here else "its files cannot be read"
        return situation.act(CaptureSkipped(generation=due.generation, why=facts.problem or changed))
    started = CaptureStarted(generation=due.generation, environment=due.environment)
    kept = numbers_kept(situation.state, due.environment, due.generation)
    worker = situation.state.seq + 1
    return situation.act(started, effect=StartCapture(worker, due.environment, due.generation, kept))


def numbers_kept(state: WorkspaceState, environment: str, *more: int) -> tuple[int, ...]:
    """The generations of `environment` whose content is to stay: refs of all others are deleted."""
    return tuple(sorted({*(g.generation for g in state.generations if g.environment == environment), *more}))
