"""Making the orchestrator's venv with the real uv and the real pip, of a small release, so that no network is needed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from comfyui_stand_in.install import make_python
from orchestrator.panel import venv
from orchestrator.panel.venv import VenvError, ensure, is_current, python_in, venv_for
from tests.helpers.small_release import SmallCore, small_wheel
from tests.helpers.waiting import until

pytestmark = pytest.mark.slow

Starter = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def core(tmp_path, monkeypatch) -> SmallCore:
    made = SmallCore(tmp_path / "core")
    monkeypatch.setenv("COMFYGIT_DEV_CORE_PATH", str(made.folder))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return made


@pytest.fixture
def wheel(tmp_path) -> Path:
    return small_wheel(tmp_path / "release", "1")


@pytest.fixture
def place(tmp_path, wheel) -> Path:
    """Where the venv belongs in a workspace."""
    return venv_for(tmp_path / ".metadata", wheel)


@pytest.fixture
def start(core, place, wheel) -> Iterator[Starter]:
    """Call it to have the venv made by a process of its own, as the panel does when ComfyUI loads it."""
    started = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, str(venv.__file__), "--venv", str(place), "--wheel", str(wheel)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def release_in(place: Path) -> str:
    """What a Python of that venv imports."""
    code = "import comfygit_core, small_release; print(small_release.RELEASE)"
    return subprocess.run([python_in(place), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def changed_at(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.scenario("OB-11", "OB-12")
def test_two_processes_at_the_same_moment_make_one_venv(core, start, place, wheel):
    core.hold()
    both = [start(), start()]
    core.until_building()
    waiting = {process.stderr.readline() for process in both}
    assert waiting == {
        f"making the orchestrator's venv: {place}\n",
        "another process is making the orchestrator's venv: waiting for it\n",
    }
    core.go_on()
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert {out for out, _ in said} == {f"{python_in(place)}\n"}
    assert sorted(err for _, err in said) == ["already there\n", "made\n"]
    assert core.builds() == 1
    assert is_current(place, wheel)


@pytest.mark.scenario("OV-02")
def test_a_second_call_changes_nothing_and_is_fast(core, place, wheel):
    assert ensure(place, wheel)
    assert release_in(place) == "1"
    before = changed_at(place)
    began = time.monotonic()
    assert not ensure(place, wheel)
    assert time.monotonic() - began < 0.1  # it takes 1 ms, starting a process 20
    assert changed_at(place) == before


@pytest.mark.scenario("OV-02")
def test_another_release_is_noticed_and_gets_a_venv_of_its_own(core, tmp_path, place, wheel):
    ensure(place, wheel)
    newer = small_wheel(tmp_path / "release", "2")
    assert not is_current(place, newer)
    beside = venv_for(tmp_path / ".metadata", newer)
    assert beside.parent == place.parent
    assert ensure(beside, newer)
    assert release_in(beside) == "2"


@pytest.mark.scenario("OV-02")
def test_at_a_fixed_place_another_release_replaces_the_one_before(core, tmp_path, wheel):
    place = tmp_path / "server" / ".orchestrator_venv"
    ensure(place, wheel)
    assert ensure(place, small_wheel(tmp_path / "release", "2"))
    assert release_in(place) == "2"


@pytest.mark.scenario("OV-02", "OV-03")
def test_another_comfygit_core_is_noticed(core, tmp_path, monkeypatch, place, wheel):
    ensure(place, wheel)
    other = SmallCore(tmp_path / "other-core")
    monkeypatch.setenv("COMFYGIT_DEV_CORE_PATH", str(other.folder))
    assert not is_current(place, wheel)
    assert ensure(place, wheel)
    code = "import comfygit_core; print(comfygit_core.__file__)"
    found = subprocess.run([python_in(place), "-c", code], capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()) == other.folder / "comfygit_core.py"
    monkeypatch.delenv("COMFYGIT_DEV_CORE_PATH")
    assert not is_current(place, wheel)


def test_what_a_kill_left_behind_is_made_anew_once_its_last_step_has_ended(core, start, place, wheel):
    core.hold()
    first = start()
    core.until_building()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert python_in(place).exists()
    assert not is_current(place, wheel)
    second = start()
    assert second.stderr.readline().startswith("another process is making")  # the killed one's uv is still at it
    core.go_on()
    assert second.wait(30) == 0
    assert core.builds() == 2
    assert release_in(place) == "1"


def test_a_venv_that_lost_its_python_is_made_anew(core, place, wheel):
    ensure(place, wheel)
    python_in(place).unlink()
    assert ensure(place, wheel)
    assert release_in(place) == "1"


def test_a_step_that_fails_is_an_error_with_the_end_of_its_output_and_leaves_nothing_that_counts(core, place, wheel):
    core.break_it()
    with pytest.raises(VenvError, match="no such wheel as that one") as caught:
        ensure(place, wheel)
    assert "packages come from PyPI" in caught.value.hint
    assert not is_current(place, wheel)
    core.mend()
    assert ensure(place, wheel)


def test_as_a_command_it_fails_with_1_an_error_and_a_hint(core, start):
    core.break_it()
    out, err = (failing := start()).communicate(timeout=30)
    assert failing.returncode == 1
    assert out == ""
    assert "error: `" in err
    assert "\nhint: packages come from PyPI" in err


def test_variables_that_lead_python_and_pip_elsewhere_are_not_passed_on(core, monkeypatch, place, wheel):
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/nowhere")
    ensure(place, wheel)
    assert "/nowhere" not in core.environ().values()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which venvs are used")
def test_venvs_of_other_releases_are_removed_unless_a_process_runs_in_them(core, tmp_path):
    wheels = [small_wheel(tmp_path / "release", release) for release in ("7.1", "7.2", "7.3")]  # of no test beside us
    places = [venv_for(tmp_path / ".metadata", wheel) for wheel in wheels]
    ensure(places[0], wheels[0])
    user = subprocess.Popen([python_in(places[0]), "-c", "input()"], stdin=subprocess.PIPE)
    command_line = Path(f"/proc/{user.pid}/cmdline")
    until(lambda: os.fsencode(places[0]) in command_line.read_bytes())
    ensure(places[1], wheels[1])
    used = places[0].exists()
    user.communicate(b"\n")
    ensure(places[2], wheels[2])
    assert used
    assert [place.exists() for place in places] == [False, False, True]


def test_what_is_no_venv_is_refused_and_stays(core, place, wheel):
    place.mkdir(parents=True)
    (place / "thesis.txt").touch()
    with pytest.raises(VenvError, match="there is something else"):
        ensure(place, wheel)
    assert (place / "thesis.txt").exists()


def test_a_venv_that_others_made_is_installed_into(core, place, wheel):
    make_python(place)
    (place / "theirs").touch()
    assert ensure(place, wheel)
    assert (place / "theirs").exists()
    assert release_in(place) == "1"


def test_a_link_at_its_place_is_replaced_and_what_it_leads_to_stays(core, tmp_path, place, wheel):
    elsewhere = tmp_path / "elsewhere"
    ensure(elsewhere, small_wheel(tmp_path / "release", "0"))
    place.parent.mkdir(parents=True)
    place.symlink_to(elsewhere)
    assert ensure(place, wheel)
    assert not place.is_symlink()
    assert release_in(elsewhere) == "0"


@pytest.mark.scenario("OV-02")
def test_without_uv_it_is_made_with_venv_and_pip(core, tmp_path, place, wheel):
    python = getattr(sys, "_base_executable", sys.executable)
    command = [python, str(venv.__file__), "--venv", str(place), "--wheel", str(wheel)]
    environ = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "uv = " not in (place / "pyvenv.cfg").read_text()
    assert is_current(place, wheel)
    assert release_in(place) == "1"


def test_no_python_that_will_do_is_said_before_anything_is_made(core, tmp_path, monkeypatch, place, wheel):
    monkeypatch.setattr(venv, "OLDEST", (99, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VenvError, match=r"needs a Python 99\.0 or later") as caught:
        venv._able_python()
    assert "pip install uv" in caught.value.hint


def test_a_wheel_that_is_gone_is_an_error_that_says_how_to_get_it_again(tmp_path):
    with pytest.raises(VenvError, match="reading the orchestrator's wheel") as caught:
        ensure(tmp_path / "venv", tmp_path / "gone.whl")
    assert "install-panel" in caught.value.hint


def test_a_place_that_cannot_be_written_to_is_an_error_with_a_hint(tmp_path, wheel):
    (tmp_path / "file").touch()
    with pytest.raises(VenvError, match="making the orchestrator's venv") as caught:
        ensure(tmp_path / "file" / "venv", wheel)
    assert "can be written to" in caught.value.hint
