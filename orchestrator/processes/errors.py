"""What can go wrong when a program is started."""

from orchestrator.errors import OrchestratorError


class SpawnFailed(OrchestratorError):  # noqa: N818 - the fact, as in the event
    """A program was not started; nothing of it runs."""
