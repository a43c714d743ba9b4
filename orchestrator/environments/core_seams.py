"""Where a sync needs more of comfygit-core than its public calls: all of it in one place, each with a way around.

Another release of core may have none of it. It syncs all the same, and the warnings say what could not be promised.
"""

import contextlib
import importlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from orchestrator.environments.sync_record import SyncRecord

_LOG = logging.getLogger(__name__)


class NoDownloads:
    """Core's registry data without the network, as long as the process lives.

    To open an environment core wants the mappings of the custom node registry, and downloads them when its copy is
    missing or older than a day: up to four requests of ten seconds each in a network that swallows them, and an error
    where there is no copy in the end. A sync uses nothing of it. A fresh time on the copy would do as well, but then
    `cg` would not refresh it for a day. So the two methods that give the paths of the copies give them as they are,
    and an empty one for one that is missing.
    """

    COPIES: Final[dict[str, tuple[str, dict[str, object]]]] = {
        "get_mappings_path": ("mappings_file", {"mappings": {}, "packages": {}, "stats": {}}),
        "get_builtin_versions_path": ("builtin_versions_file", {}),
    }

    def __init__(self, folder: Path) -> None:
        """`folder` is made for empty copies, if there is need."""
        self._folder = folder

    def arrange(self) -> list[str]:
        """Replace the methods; a warning for each that is not there."""
        try:
            from comfygit_core.services import registry_data_manager
        except ImportError as error:
            return [f"comfygit-core may wait for the registry: {error}"]
        owner = getattr(registry_data_manager, "RegistryDataManager", None)
        missing = [method for method in self.COPIES if not hasattr(owner, method)]
        for method in self.COPIES.keys() - missing:
            setattr(owner, method, self._giving(method))
        return [f"comfygit-core may wait for the registry: it has no {method}" for method in missing]

    def remove(self) -> None:
        """Remove the empty copies."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _giving(self, method: str) -> Callable[[Any], Path]:
        attribute, content = self.COPIES[method]

        def path(manager: Any) -> Path:
            found: Path | None = getattr(manager, attribute, None)
            if found is not None and found.exists():
                return found
            self._folder.mkdir(parents=True, exist_ok=True)
            empty = self._folder / f"{method}.json"
            empty.write_text(json.dumps(content), "utf-8")
            return empty

        return path


def lock(environment: Any) -> AbstractContextManager[object]:
    """The lock that core takes for a sync, and takes again within: what is done around one may not meet another."""
    found: AbstractContextManager[object] = getattr(environment, "_operation_lock", contextlib.nullcontext())
    return found


def version_mismatches(environment: Any) -> tuple[list[tuple[str, str]], list[str]]:
    """The nodes whose folders core would delete, as its sync finds them, with the reason; and warnings."""
    try:
        from comfygit_core.analyzers.status_scanner import StatusScanner

        scanner = StatusScanner(
            comfyui_path=environment.comfyui_path,
            venv_path=environment.venv_path,
            uv=environment.uv_manager,
            pyproject=environment.pyproject,
            pytorch_manager=environment.pytorch_manager,
        )
        found = scanner.get_full_comparison(check_package_sync=False).version_mismatches
        return [(str(one["name"]), f"{one['actual']} here, {one['expected']} in the manifest") for one in found], []
    except Exception as error:  # noqa: BLE001 -- another core, or a manifest that the sync itself will complain of
        _LOG.exception("The nodes cannot be compared with the manifest")
        return [], [f"custom nodes that core replaces are not kept: {type(error).__name__}: {error}"]


def recorded_copying(environment: Any, record: SyncRecord) -> list[str]:
    """Have it recorded how far core comes with each node that it installs; warnings."""
    try:
        from comfygit_core.models.workflow import NodeInstallCallbacks

        manager = environment.node_manager
        lookup, install = manager.node_lookup, manager.sync_nodes_to_filesystem
        download = lookup.download_to_cache
    except (ImportError, AttributeError) as error:
        return [f"custom nodes that core replaces are all kept: {error}"]

    def recorded(node: Any, *arguments: Any, **named: Any) -> Any:
        cached = download(node, *arguments, **named)
        # It is copied next. What has come in its place meanwhile is somebody else's.
        if cached is not None and not os.path.lexists(environment.custom_nodes_path / node.name):
            record.copying(str(node.name), Path(cached))
        return cached

    def completed(name: str, ok: bool, _why: str | None) -> None:  # noqa: FBT001 -- as core calls it
        if ok:
            record.copied(name)

    def told(*arguments: Any, **named: Any) -> Any:
        if named.get("callbacks") is None:
            named["callbacks"] = NodeInstallCallbacks(on_node_complete=completed)
        return install(*arguments, **named)

    lookup.download_to_cache, manager.sync_nodes_to_filesystem = recorded, told
    return []


_WRITERS: Final = (
    ("pyproject_manager", "PyprojectManager", "save", True),
    ("uv_project_manager", "UVProjectManager", "add_dependency", False),
)
"""What writes a manifest, and whether half of one may remain: core itself; `uv add`, for requirements that are addresses."""


@contextlib.contextmanager
def recorded_writing(record: SyncRecord) -> Iterator[list[str]]:
    """Have each writing of the manifest recorded; gives warnings."""
    warnings, replaced = [], list[tuple[Any, str, Any]]()
    for module, class_name, method, in_place in _WRITERS:
        try:
            owner: Any = getattr(importlib.import_module(f"comfygit_core.managers.{module}"), class_name)
            original = getattr(owner, method)
        except (ImportError, AttributeError) as error:
            warnings.append(f"an interrupted sync could not be undone by itself: {error}")
            continue
        replaced.append((owner, method, original))
        setattr(owner, method, _recorded(original, record, in_place=in_place))
    try:
        yield warnings
    finally:
        for owner, method, original in replaced:
            setattr(owner, method, original)


def _recorded(write: Callable[..., Any], record: SyncRecord, *, in_place: bool) -> Callable[..., Any]:
    def recorded(manager: Any, *arguments: Any, **named: Any) -> Any:
        pyproject = getattr(manager, "pyproject", manager)
        if getattr(pyproject, "path", None) != record.manifest:  # a copy that core gives to uv
            return write(manager, *arguments, **named)
        record.writing(in_place=in_place)
        written = write(manager, *arguments, **named)
        record.wrote()
        return written

    return recorded
