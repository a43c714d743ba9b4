"""The switch lock: who holds it, and when a foreign lock file may be taken away.

The lock belongs to a switch, not to a process: it is taken with the switch's request and freed with its last event.
Nothing of ours ever expires. Only a lock file that a foreign program left, with no switch behind it, has an age; and a claim,
the lock of somebody who has not asked for a switch yet, ends with that process.
"""

from typing import Final

import attrs

from journal.clock import Stamp, age_ns, seconds
from journal.identity import Identity

OWNER_DEAD: Final = "owner_dead"
"""Why a claim was taken away, in `lock.broken`: its holder died without asking for a switch."""
FOREIGN_STALE: Final = "foreign_stale"
"""Why a foreign lock file was: nobody has touched it for too long."""


@attrs.frozen
class Lock:
    """Held for `switch` since `acquired`; `holder` asked for it, and its death frees nothing."""

    switch: int
    acquired: Stamp
    holder: Identity | None


@attrs.frozen
class Claim:
    """The lock without a switch, by the seq of its `lock.acquired`: `holder` means to ask for one, and its death frees it."""

    claim: int
    acquired: Stamp
    holder: Identity


@attrs.frozen
class ForeignLock:
    """A lock file that is not ours, as found: last touched at `touched` (by its mtime, or when first seen, the younger)."""

    touched: Stamp

    def is_stale(self, now: Stamp, lock_timeout_s: float) -> bool:
        """Whether whoever touched it has had `lock_timeout_s` seconds; at the very second it is."""
        return age_ns(self.touched, now) >= seconds(lock_timeout_s)
