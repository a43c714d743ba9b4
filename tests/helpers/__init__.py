"""What tests share. The names here are known to people who test against us; the rest is in its modules."""

from tests.helpers.process_helpers import (
    MockComfyUIServer,
    ProcessMonitor,
    get_free_port,
    is_port_open,
    kill_process_tree,
    wait_for_port,
)
from tests.helpers.workspace_helpers import EnvironmentBuilder, StateFileBuilder, WorkspaceBuilder

__all__ = [
    "EnvironmentBuilder",
    "MockComfyUIServer",
    "ProcessMonitor",
    "StateFileBuilder",
    "WorkspaceBuilder",
    "get_free_port",
    "is_port_open",
    "kill_process_tree",
    "wait_for_port",
]
