"""The page of all events, and the catalogue that it is made from."""

import pytest

import event_catalogue
from journal.events import CATALOGUE


@pytest.fixture(scope="module")
def page() -> str:
    return event_catalogue.render(CATALOGUE.values())


def test_the_page_in_the_repo_is_up_to_date(page):
    assert event_catalogue.TARGET.read_text("utf-8") == page, "run tools/event_catalogue.py"


def test_every_event_is_on_the_page_with_its_version_and_fields(page):
    for name, cls in CATALOGUE.items():
        section = page.partition(f"### `{name}` (version {cls.version})\n")[2].partition("\n##")[0]
        assert section.strip() != ""
        assert all(f"| `{field.name}` |" in section for field in event_catalogue.fields_of(cls))


def test_every_link_on_the_page_leads_somewhere(page):
    anchors = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("##")}
    linked = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert linked <= anchors


@pytest.mark.parametrize("before", [None, "# Events\n\nold\n"], ids=["missing", "stale"])
def test_a_check_fails_until_the_page_is_written(tmp_path, monkeypatch, capsys, before):
    monkeypatch.setattr(event_catalogue, "TARGET", tmp_path / "events.md")
    if before is not None:
        event_catalogue.TARGET.write_text(before)

    assert event_catalogue.main(["--check"]) == 1
    assert "stale" in capsys.readouterr().err
    assert event_catalogue.main([]) == 0
    assert event_catalogue.main(["--check"]) == 0


def test_an_unknown_argument_is_a_usage_error():
    assert event_catalogue.main(["--chekc"]) == 2
