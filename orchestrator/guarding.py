"""An orchestrator's side of its guard: what it is told, and what it says.

There is no guard on Windows, nor where an orchestrator runs inside somebody else's program.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

import attrs

from journal.events import OrchestratorLost
from journal.identity import Identity, boot_id, identify, is_alive
from orchestrator import guard
from orchestrator.guarded_start import become_guard
from orchestrator.processes.signals import signal_name
from orchestrator.processes.table import row

_LOG = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 65536


def _nothing() -> None:
    """Nobody wants to know."""


@attrs.define(eq=False)
class GuardLink:
    """The pipes to the guard that started us. `again`: in place of one that died. `is_lost`: the guard is dead.

    `has_strangers`: it has children of its own, so that not every orphan below it comes from what we start. `on_heard` is
    called whenever the guard has said something, whoever it was that listened.
    """

    identity: Identity
    again: bool
    has_strangers: bool = False
    is_lost: bool = False
    on_heard: Callable[[], None] = _nothing
    _hear: int = -1
    _say: int = -1
    _half: bytes = b""
    _ended: dict[tuple[int, int], int] = attrs.Factory(dict)
    _signals: list[str] = attrs.Factory(list)

    @classmethod
    def take(cls) -> Self | None:
        """The link that the environment names, which forgets it: nobody inherits it. None when no guard started us.

        Where that has died since, we become the next one, and this does not return.
        """
        named = os.environ.pop(guard.ENVIRON, "")
        try:
            pid, hear, say, again, *more = (int(part) for part in named.split(":"))
        except ValueError:
            return None
        for descriptor in (hear, say):
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - its name is no keyword
        os.set_blocking(hear, False)
        identity = identify(pid) if pid == os.getppid() else None
        link = cls(identity or Identity(pid, 0, boot_id()), bool(again), any(more), hear=hear, say=say)
        if identity is not None:
            return link
        link.listen()
        if link.is_lost:
            link.take_its_place(again=link.again)
        return None  # somebody stands between us and it

    def fileno(self) -> int:
        """Readable when there is something to `listen` to."""
        return self._hear

    def listen(self) -> None:
        """Take in what the guard has said. Its end is the end of the guard."""
        has_said = False
        while not self.is_lost:
            try:
                said = os.read(self._hear, _CHUNK_BYTES)
            except BlockingIOError:
                break
            has_said, self.is_lost = has_said or bool(said), not said
            *lines, self._half = (self._half + said).split(b"\n")
            for line in lines:
                self._take_in(line.decode("ascii", "replace").split())
        if has_said:
            self.on_heard()

    def _take_in(self, words: Sequence[str]) -> None:
        match words:
            case ["reaped", pid, ticks, status]:
                self._ended[int(pid), int(ticks)] = int(status)
            case ["signal", name]:
                self._signals.append(name)

    def take_its_place(self, *, again: bool, unheeded: Iterable[str] = ()) -> None:
        """Become the next guard: see `become_guard`. Returns only where that cannot be done, which is logged."""
        _LOG.warning(
            "the guard, pid %d, is dead; taking its place, and starting another orchestrator", self.identity.pid
        )
        try:
            become_guard(again=again, unheeded=[*self._signals, *unheeded])
        except OSError as error:
            _LOG.warning("taking the guard's place: %s; going on without one", error)

    def next_signal(self) -> str:
        """The name of a signal that the guard has got, each once; "" when there is none."""
        return self._signals.pop(0) if self._signals else ""

    @property
    def is_asked_to_end(self) -> bool:
        """Whether a signal has come to the guard that nobody has heeded yet."""
        self.listen()
        return bool(self._signals)

    def may_know(self, identity: Identity) -> bool:
        """Whether `identity` is the guard's child; of one that is gone, whether it can have been."""
        found = row(identity.pid) if is_alive(identity) else None
        if found is None:
            return self.again and identity.boot_id == self.identity.boot_id
        return found.parent_pid == self.identity.pid

    def wait_status(self, identity: Identity) -> int | None:
        """How `identity` ended, as `os.wait` would say; None when the guard has not said so."""
        if self.identity.boot_id != identity.boot_id:
            return None
        self.listen()
        return self._ended.get((identity.pid, identity.start_ticks))

    def loss_of(self, orchestrator: Identity) -> OrchestratorLost:
        """The event that tells how the one before us ended, as far as the guard has said so."""
        status = self.wait_status(orchestrator)
        if status is None:
            return OrchestratorLost(identity=orchestrator, became_guard=orchestrator == self.identity)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return OrchestratorLost(identity=orchestrator, code=code)
        return OrchestratorLost(identity=orchestrator, signal=signal_name(-code))

    def say_started(self) -> None:
        """From now on our death is no refusal: we are to be started again."""
        self._tell("started")

    def say_leave(self) -> None:
        """There is nothing to start again here, whatever we end with."""
        self._tell("leave")

    def _tell(self, word: str) -> None:
        try:
            os.write(self._say, f"{word}\n".encode("ascii"))
        except OSError as error:
            _LOG.debug("telling the guard %r: %s", word, error)
