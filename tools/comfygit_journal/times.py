"""Points in time as people write them. Pure: `now` and the local zone are arguments."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

ALLOWED: Final = "2026-03-01T12:00:00Z, 2026-03-01 12:00, 2026-03-01, 30s, 10m, 2h, 3d, yesterday, today or now"
"""Examples of all that is understood. A time without a zone is local; `10m` is ten minutes ago."""

_AGO: Final = re.compile(r"(\d{1,9}) ?([smhdw])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TimeUnclearError(ValueError):
    """Text that is no point in time. `hint` says what is allowed."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no point in time")
        self.hint = f"write it as in {ALLOWED}"


def parse_time(text: str, now: datetime, local: Callable[[datetime], datetime] = datetime.astimezone) -> int:
    """The point in time that `text` names, in nanoseconds since 1970.

    `now` is aware; `local` gives a time without a zone the local one. A day begins at local midnight. Raises
    TimeUnclearError.
    """
    try:
        found = _named(text.strip().lower(), now, local) or _ago(text.strip(), now) or _iso(text.strip(), local)
        return (found - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError, OSError):  # OSError: a local time that the system cannot place
        raise TimeUnclearError(text) from None


def _named(text: str, now: datetime, local: Callable[[datetime], datetime]) -> datetime | None:
    if text == "now":
        return now
    days_ago = {"today": 0, "yesterday": 1}.get(text)
    return None if days_ago is None else local(_midnight(now.date() - timedelta(days=days_ago)))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())


def _ago(text: str, now: datetime) -> datetime | None:
    found = _AGO.fullmatch(text)
    return None if found is None else now - timedelta(**{_UNITS[found[2]]: int(found[1])})


def _iso(text: str, local: Callable[[datetime], datetime]) -> datetime:
    found = datetime.fromisoformat(text)
    return local(found) if found.tzinfo is None else found
