"""Points in time as people write them."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from comfygit_journal.times import TimeUnclearError, parse_time
from journal.clock import S, iso

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 29, 12, 0, tzinfo=BERLIN)
"""Noon of the day on which summer time began: 10:00 UTC."""


def in_berlin(naive: datetime) -> datetime:
    return naive.replace(tzinfo=BERLIN)


def parsed(text: str) -> str:
    return iso(parse_time(text, NOW, in_berlin))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"),
        ("2026-03-01T12:00:00.123456Z", "2026-03-01T12:00:00.123Z"),
        ("2026-03-01T12:00+02:00", "2026-03-01T10:00:00.000Z"),
        ("2026-03-01 12:00", "2026-03-01T11:00:00.000Z"),
        ("2026-07-01 12:00", "2026-07-01T10:00:00.000Z"),
        ("2026-03-01", "2026-02-28T23:00:00.000Z"),
        ("30s", "2026-03-29T09:59:30.000Z"),
        ("10m", "2026-03-29T09:50:00.000Z"),
        ("2h", "2026-03-29T08:00:00.000Z"),
        ("2 h", "2026-03-29T08:00:00.000Z"),
        ("now", "2026-03-29T10:00:00.000Z"),
        (" Yesterday ", "2026-03-27T23:00:00.000Z"),
        ("today", "2026-03-28T23:00:00.000Z"),
    ],
)
def test_what_is_understood(text, expected):
    assert parsed(text) == expected


def test_three_days_ago_is_72_hours_ago():
    assert parse_time("3d", NOW.astimezone(UTC)) == parse_time("72h", NOW.astimezone(UTC))
    assert parse_time("1w", NOW.astimezone(UTC)) == parse_time("7d", NOW.astimezone(UTC))


def test_an_hour_ago_counts_across_a_change_to_summer_time():
    three_hours_later = datetime(2026, 3, 29, 4, 0, tzinfo=BERLIN)
    assert iso(parse_time("3h", three_hours_later.astimezone(UTC))) == "2026-03-28T23:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    ["", "soon", "10", "10y", "-5m", "1.5h", "2026-13-01", "12:00", "999999999w", "0000-00-00", "10m ago", "٣m"],
)
def test_anything_else_is_refused_and_says_what_is_allowed(text):
    with pytest.raises(TimeUnclearError, match="is no point in time") as caught:
        parsed(text)
    assert "2026-03-01T12:00:00Z" in caught.value.hint
    assert "yesterday" in caught.value.hint


def test_the_result_is_exact_to_the_microsecond():
    at = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=timezone(timedelta(hours=3)))
    assert parse_time(at.isoformat(), NOW) == round(datetime(2026, 3, 1, 9, tzinfo=UTC).timestamp()) * S + 123_457_000
