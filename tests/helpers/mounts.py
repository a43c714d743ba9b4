"""File systems of their own for child processes: root is stopped by no permission, but by a mount."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@functools.cache
def can_mount() -> bool:
    """Whether this user may mount in a mount namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="may not mount")


def run_on_tmpfs(folder: Path, script: str, *, options: str = "size=16m", then: str = "true") -> str:
    """What a Python script prints whose `folder` (argv[1]) is a tmpfs with a copy of what is in it.

    The mount is the child's alone and goes with it. `then` is a shell command before the script is run.
    """
    shell = 'mkdir "$1.copy" && cp -a "$1/." "$1.copy" && mount -t tmpfs -o "$2" none "$1" && cp -a "$1.copy/." "$1"'
    command = ["unshare", "-m", "sh", "-ec", f'{shell} && {then} && exec "$3" -c "$4" "$1"', "sh"]
    ran = subprocess.run(
        [*command, str(folder), options, sys.executable, script],
        check=False,
        text=True,
        capture_output=True,
        timeout=50,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


REMOUNTED_READ_ONLY = 'mount -o remount,ro "$1"'
