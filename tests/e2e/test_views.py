"""The files that others read: deleted while we live, deleted while nobody does, and always what the journal says."""

from journal.events import FileDrifted
from projections.views import views
from tests.helpers.waiting import until


def on_disk(live):
    """Each view that exists, by name: its bytes."""
    return {
        name: (live.metadata / name).read_bytes() for name in views(live.state()) if (live.metadata / name).exists()
    }


def delete(live, names):
    for name in names:
        (live.metadata / name).unlink()


def test_views_deleted_or_written_over_while_it_lives_come_back_byte_for_byte_and_that_is_journaled(workspace):
    live = workspace(good=None, bad={"die_at_start": 7})
    live.configure(status_linger_s=60)
    live.serve("good")
    live.switch("bad")
    live.shown("rolled_back")
    until((live.metadata / ".supervisor_control.json").exists)
    before = on_disk(live)
    assert {".orchestrator.pid", ".startup_state.json", ".switch_status.json", ".control_port"} < before.keys()
    delete(live, before)
    until(lambda: on_disk(live) == before)
    live.until(lambda state: {event.name for event in live.of(FileDrifted)} >= set(before))
    assert {event.found for event in live.of(FileDrifted)} == {"missing"}
    (live.metadata / ".orchestrator.pid").write_text("1")  # not deleted, but written over
    until(lambda: (live.metadata / ".orchestrator.pid").read_text() == str(live.state().orchestrator.pid))
    live.until(
        lambda state: (".orchestrator.pid", "1") in {(event.name, event.found) for event in live.of(FileDrifted)}
    )


def test_views_deleted_in_the_middle_of_a_switch_come_back_and_the_switch_goes_on(workspace):
    live = workspace(good=None, slow={"start_delay_s": 1})
    live.configure(source_grace_s=0)
    live.serve("good")
    live.request("slow", "good")
    live.until(lambda state: state.job is not None and state.job.stage == "validating")
    before = on_disk(live)
    assert {".switch.lock", ".switch_request.json", ".switch_status.json"} <= set(before)
    delete(live, before)
    until(lambda: on_disk(live).keys() == before.keys())
    assert live.until_over().serving == "slow"
    assert {event.name for event in live.of(FileDrifted)} == set(before)


def test_with_nobody_alive_deleted_views_come_back_byte_for_byte_when_the_workspace_is_opened(workspace):
    live = workspace(good=None, bad={"die_at_start": 7})
    live.serve("good")
    live.order("good", {"die_at_start": 8})
    live.switch("bad")
    live.shown("critical_failure")
    until((live.metadata / ".supervisor_control.json").exists)
    dead = live.state().orchestrator
    live.die()
    before = on_disk(live)
    assert {".startup_state.json", ".switch_status.json", ".orchestrator.pid", ".control_port"} <= set(before)
    delete(live, before)
    assert live.cli("replay", tool="journal").returncode == 1
    assert live.cli("replay", "--write", tool="journal").returncode == 0
    assert on_disk(live) == before
    delete(live, before)
    live.start()
    live.until(lambda state: state.orchestrator is not None and state.orchestrator != dead)
    lasting = {name: before[name] for name in (".startup_state.json", ".switch_status.json")}
    until(lambda: {name: on_disk(live).get(name) for name in lasting} == lasting)
