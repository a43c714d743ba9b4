"""A machine whose wall clock somebody sets: for every process of ours that is started with `environ`.

Only `journal.clock` reads clocks, so only there it is set; the monotonic clock goes on as it does. Files get their times from
the kernel, which knows nothing of this: `touch` gives them those of this machine.
"""

import os
from pathlib import Path
from typing import Final

from journal import clock

HOUR_NS: Final = 3600 * clock.S

_SITE = """
import time, types
from pathlib import Path
from journal import clock

OFFSET = Path({offset!r})
clock.time = types.SimpleNamespace(
    time_ns=lambda: time.time_ns() + int(OFFSET.read_text() or 0), monotonic_ns=time.monotonic_ns
)
"""


class SteppedClock:
    """One such machine; `environ` belongs to every process on it."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self._set(0)
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(_SITE.format(offset=str(self._offset)))
        self.environ = {"PYTHONPATH": str(site)}

    def step(self, by_ns: int) -> None:
        """Somebody sets the clock, by so much, ahead or back."""
        self._set(self.offset_ns + by_ns)

    @property
    def offset_ns(self) -> int:
        return int(self._offset.read_text())

    def touch(self, path: Path) -> None:
        """As a program on this machine does."""
        now_ns = clock.read().wall_ns + self.offset_ns
        path.touch()
        os.utime(path, ns=(now_ns, now_ns))

    def _set(self, offset_ns: int) -> None:
        temporary = self._offset.with_suffix(".new")
        temporary.write_text(str(offset_ns))
        temporary.replace(self._offset)
