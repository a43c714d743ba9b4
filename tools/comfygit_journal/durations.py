"""Durations in words. Pure."""

from typing import Final

_MS: Final = 1_000_000
_S: Final = 1_000_000_000
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


def duration(ns: int | None) -> str:
    """As people say it: `85 ms`, `14.2 s`, `3 min 20 s`, `2 h 5 min`; `?` for None."""
    if ns is None:
        return "?"
    if ns < _S:
        return f"{max(0, ns) // _MS} ms"
    whole_s = ns // _S
    if whole_s < _MINUTE_S:
        return f"{whole_s}.{ns % _S // (100 * _MS)} s"
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S} s"
    return f"{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S} min"
