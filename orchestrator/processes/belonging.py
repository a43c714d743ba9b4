"""Whether a process that the journal names is this workspace's: a copied workspace has a copied journal, too.

What it has open tells, and not what it was told at its start, which names the same journal in both.
"""

import os
import sys
from pathlib import Path

from journal.identity import Identity
from orchestrator.occupancy import is_same
from orchestrator.processes.output_file import is_locked


def belongs(identity: Identity, log: Path, folder: Path) -> bool:
    """Whether its output goes to `log` or beside it, or it is in `folder` or below. True as well where that cannot be told.

    It cannot of what another user runs, or other systems than Linux do, and where all of it was deleted meanwhile. A log that
    was renamed in its folder, or a workspace that was, changes nothing.
    """
    if sys.platform != "linux" or is_locked(log):
        return True
    output, place = _opened(identity.pid, "fd/1"), _opened(identity.pid, "cwd")
    if output is not None and is_same(output.parent, log.parent):
        return True
    if output is not None and output.name == log.name:
        return False  # of the same start, in another workspace; the environment's folder may be a link, and both's
    return place is None or any(is_same(above, folder) for above in (place, *place.parents))


def _opened(pid: int, what: str) -> Path | None:
    """Where that is which `pid` has open; None when it is gone, no file, or not to be found from here."""
    link = Path(f"/proc/{pid}/{what}")
    try:
        found = link.readlink()
        return found if os.path.samestat(link.stat(), found.stat()) else None
    except OSError:
        return None
