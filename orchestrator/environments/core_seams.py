"""Where a sync needs more of comfygit-core than its public calls: all of it in one place, each with a way around.

Another release of core may have none of it. It syncs all the same, and the warnings say what could not be promised.
"""

import contextlib
import json
import logging
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


@contextlib.contextmanager
def recorded_writing(record: SyncRecord) -> Iterator[list[str]]:
    """Have each writing of the manifest recorded; gives warnings."""
    try:
        from comfygit_core.managers import pyproject_manager
    except ImportError as error:
        yield [f"an interrupted sync could not be undone by itself: {error}"]
        return
    owner: Any = getattr(pyproject_manager, "PyprojectManager", None)
    save = getattr(owner, "save", None)
    if save is None:
        yield ["an interrupted sync could not be undone by itself: comfygit-core has no PyprojectManager.save"]
        return

    def recorded(manager: Any, *arguments: Any, **named: Any) -> None:
        if getattr(manager, "path", None) != record.manifest:  # a copy that core gives to uv
            save(manager, *arguments, **named)
            return
        record.writing()
        save(manager, *arguments, **named)
        record.wrote()

    owner.save = recorded
    try:
        yield []
    finally:
        owner.save = save
