"""The settings as one document, in the form that the public manager gives them."""

import json
from pathlib import Path
from typing import Any

import attrs

from orchestrator.compat.opening import read_document, workspace_of
from orchestrator.config import SETTINGS, Config
from orchestrator.workspace import read_config


def load_workspace_config(metadata_dir: Path) -> dict[str, Any]:
    """Every setting by section and name, defaults where the file says nothing or something that is not allowed.

    What we do not know, the file's `frontend` section for one, is passed through as it is there.
    """
    workspace = workspace_of(metadata_dir)
    config, _ = read_config(workspace.config_path, Config())
    values = attrs.asdict(config)
    document: dict[str, Any] = {"frontend": {}, **(read_document(workspace.config_path) or {})}
    for setting in SETTINGS:
        section, _, name = setting.key.partition(".")
        content = document.get(section)
        document[section] = {**(content if isinstance(content, dict) else {}), name: values[setting.field]}
    return dict(json.loads(json.dumps(document)))
