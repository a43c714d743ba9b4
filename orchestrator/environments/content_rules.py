"""Which files of an environment are its content, by name alone: what a restore may write and remove, and nothing else is.

Names are POSIX and relative to the environment's folder, as in `.cec/pyproject.toml`. In a ComfyGit environment (one with
a `.cec/`) content is what lies below `.cec/`, else three files. The user's workflows are not content, and neither is what
comfygit-core makes anew or leaves lying about: its own list of ignored files, less what says how to install. What by its
name is private is none either: it would get into the repository's objects, and from there to wherever that is pushed.
"""

import os
import re
from pathlib import PurePath
from typing import Final

CEC: Final = ".cec"
PLAIN_CONTENT: Final = ("pyproject.toml", "uv.lock", ".pytorch-backend")
WORKFLOWS: Final = ("workflows", "workflow_api")
"""Folders below `.cec/`: the user's own."""

_LONGEST_PART_BYTES = 255  # the limit of every common file system
_NOT_CONTENT = re.compile(
    r"workflows|workflow_api|backups|staging|metadata|logs|\.comfygit-tmp|\.venv-probe-.*|\.complete"
    r"|comfyui_(builtins|folder_paths|model_loaders)\.json",
    re.IGNORECASE | re.DOTALL,  # a file system may take `Workflows` for `workflows`
)
_NOWHERE_CONTENT = re.compile(r"\.git|__pycache__|.*\.(pyc|tmp|bak|sw[op])|.*~|\.#.*|#.*#", re.IGNORECASE | re.DOTALL)
_PRIVATE = re.compile(
    r".*\.env|\.env\..*|\.envrc|.*\.(pem|key|p12|pfx|token)|id_(rsa|dsa|ecdsa|ed25519).*|[._]netrc|\.git-credentials"
    r"|\.pypirc|.*credential.*|.*secret.*",
    re.IGNORECASE | re.DOTALL,
)


def is_content(name: str, *, comfygit: bool) -> bool:
    """Whether a file of this name, or what is in a folder of this name, is content."""
    if not comfygit:
        return name in PLAIN_CONTENT
    top, *below = name.split("/")
    if top != CEC or not below or _NOT_CONTENT.fullmatch(below[0]):
        return False
    return not any(_NOWHERE_CONTENT.fullmatch(part) or _PRIVATE.fullmatch(part) for part in below)


def is_workflow(name: str) -> bool:
    """Whether it is, or is in, one of the user's folders of workflows, and neither git's nor private."""
    top, *below = name.split("/")
    if top != CEC or not below or below[0] not in WORKFLOWS:
        return False
    return not any(part.lower() == ".git" or _PRIVATE.fullmatch(part) for part in below)


def name_problem(name: str, *, comfygit: bool) -> str:
    """Why nothing may be written or removed under this name; "" when it may."""
    parts = name.split("/")
    if "\0" in name or ".." in parts or PurePath(name).parts != tuple(parts):
        return "it is no plain relative name"
    if any(len(os.fsencode(part)) > _LONGEST_PART_BYTES for part in parts):
        return f"a part of it is longer than {_LONGEST_PART_BYTES} bytes"
    return "" if is_content(name, comfygit=comfygit) else "it is not among the files that make an environment's content"


def printable(name: str) -> str:
    """`name` fit for one line of text and for the journal: what cannot be printed is written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
