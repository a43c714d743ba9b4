"""A generation's content is brought back: what is there is saved first, then overwritten. Only where a job wants that."""

from journal.events import CaptureStarted, Evidence, GenerationRecorded, RestoreStarted
from orchestrator.actions import Decision, StartCapture, StartRestore
from orchestrator.deciding.capturing import numbers_kept
from orchestrator.deciding.failing import failure
from orchestrator.deciding.situation import Situation
from orchestrator.world import EnvironmentFacts
from projections.generations import Generation, content_of, find, holder_of
from projections.jobs import Job

SAVES_MAX = 4
"""How often one job saves the same environment, which somebody changes each time before it can be overwritten."""


def bring_back(situation: Situation, job: Job, facts: EnvironmentFacts) -> Decision | None:
    """The next step towards the content that `job` wants on the disk; None when it is there, or none is wanted or kept."""
    state = situation.state
    wanted = find(state.generations, job.wanted_generation)
    if wanted is None or wanted.kept is None or wanted.environment != job.wanted or job.restored:
        return None
    here = content_of(facts.fingerprint or "")
    if not here:
        error = f"what is in environment {job.wanted} could not be read, so that nothing of it was overwritten"
        return situation.act(*failure(state, job, "restore", error))
    if job.restoring:  # one that was interrupted: what is there now is some of each
        return _restore(situation, wanted, job.saved[job.wanted])
    if here == wanted.content:
        return None
    holder = holder_of(state.generations, job.wanted, facts.fingerprint or "")
    if holder is not None:
        return _restore(situation, wanted, holder.generation)
    failed = _failed_to_save(state.generations, job, here)
    if failed is not None:
        error = f"what is in environment {job.wanted} could not be saved: {failed.not_kept}"
        return situation.act(*failure(state, job, "restore", error))
    if len(_saved_by(state.generations, job)) >= SAVES_MAX:
        error = f"what is in environment {job.wanted} was changed again and again while it was to be overwritten"
        return situation.act(*failure(state, job, "restore", error))
    return _save(situation, job, facts)


def _restore(situation: Situation, wanted: Generation, saved: int) -> Decision:
    started = RestoreStarted(environment=wanted.environment, generation=wanted.generation, saved=saved)
    worker = situation.state.seq + 1
    return situation.act(started, effect=StartRestore(worker, wanted.environment, wanted.generation, saved))


def _saved_by(generations: tuple[Generation, ...], job: Job) -> list[Generation]:
    """What this job has saved, or has tried to save, of the environment that it wants."""
    return [
        g
        for g in generations
        if g.generation > job.job and g.evidence is Evidence.SAVED and g.environment == job.wanted
    ]


def _failed_to_save(generations: tuple[Generation, ...], job: Job, content: str) -> Generation | None:
    """The try of this job to save this content, if it has failed."""
    return next((g for g in _saved_by(generations, job) if g.content == content and g.not_kept), None)


def _save(situation: Situation, job: Job, facts: EnvironmentFacts) -> Decision:
    generation = situation.state.seq + 1
    present = GenerationRecorded(
        environment=job.wanted,
        fingerprint=facts.fingerprint or "",
        evidence=Evidence.SAVED,
        spawn=None,
        arguments=situation.arguments,
    )
    started = CaptureStarted(generation=generation, environment=job.wanted)
    kept = numbers_kept(situation.state, job.wanted, generation)
    return situation.act(present, started, effect=StartCapture(generation + 1, job.wanted, generation, kept))
