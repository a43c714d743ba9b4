"""Secrets out of text that is kept or shown: arguments, log lines, addresses."""

import re
from typing import Final

MASK: Final = "***"

_NAME: Final = (
    r"(?:api[_-]?key|apikey|access[_-]?key|secret[_-]?key|private[_-]?key|token|secret|password|passwd|passphrase)"
)
_WORD: Final = (
    r"(?<![\w-])(?:[\w-]{0,64}?[_-])?"  # what may stand before it: bounded, or long lines take quadratic time
)
_VALUE: Final = r"(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'&,;)}\]]+)++"  # as a shell joins them: 'a'b"c" is one

_RULES: Final = (
    # https://user:password@host, https://token@host
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)([^\s/@:?#\"']{0,256}):[^\s/@\"']{0,1024}@"), rf"\1\2:{MASK}@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@:?#\"']{1,1024}@"), rf"\1{MASK}@"),
    # Authorization: Bearer x; "Authorization": "Basic x"
    (
        re.compile(
            r"(?i)(authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:(?:basic|bearer|token|digest|negotiate)\s{1,4})?)[^\s\"',]+"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer\s{1,4})[\w.~+/=*-]+"), rf"\1{MASK}"),
    # api_key=x, "HF_TOKEN": "x", ?token=x
    (re.compile(rf"(?i)({_WORD}{_NAME}[\"']?\s{{0,4}}[=:]\s{{0,4}}){_VALUE}"), rf"\1{MASK}"),
    # --api-key x
    (re.compile(rf"(?i)((?<![\w-])--?(?:[\w-]{{0,64}}?[_-])?{_NAME}\s{{1,4}}){_VALUE}"), rf"\1{MASK}"),
    # tokens that are known by their looks, which are those of one well-known package's name, too
    (
        re.compile(
            r"\b(?:hf_(?!transfer(?![A-Za-z0-9]))[A-Za-z0-9]{8,}"
            r"|sk-[A-Za-z0-9_-]{8,}|gh[opsur]_[A-Za-z0-9]{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}"
            r"|r8_[A-Za-z0-9]{8,}|xox[abprs]-[\w-]{8,}|AKIA[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
        ),
        MASK,
    ),
)


def mask(text: str) -> str:
    """`text` with every secret that can be recognised replaced by `***`. Masking twice changes nothing."""
    while (masked := _masked_once(text)) != text:
        text = masked  # what stood before a secret may be gone, and so show that it was one
    return text


def _masked_once(text: str) -> str:
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text
