"""A status that somebody outside of the orchestrator wants to be shown, until there is something newer to show."""

import attrs

from journal.clock import Stamp


@attrs.frozen
class PostedStatus:
    """What `status.set` said. `fields` is a JSON object as text."""

    state: str
    progress: int
    message: str
    fields: str
    at: Stamp
