"""The morning page: what it shows, that its links lead to files, and that nothing from outside is markup."""

import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.status.facts import Limits
from pipeline.status.nights import nights
from pipeline.status.records import Records
from pipeline.status.status import look
from pipeline.status.write import write_page
from tests.support.commands import run_here
from tests.support.nights import (
    NOW,
    add_line,
    add_model,
    add_night,
    add_run,
    decide,
    go_live,
    lake_of_nights,
    promotion,
)

LAST = NOW.replace(hour=2, minute=15)


class Page(HTMLParser):
    """The rows of its tables, its links, and its text outside style and script."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.text = ""
        self._inside = ""
        self._in_cell = False
        self.tags: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True
        elif tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data: str) -> None:
        if self._inside in ("style", "script"):
            return
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False
        elif tag == "tr":
            self.rows[-1] = [" ".join(cell.split()) for cell in self.rows[-1]]

    def nights(self) -> list[list[str]]:
        return [row for row in self.rows if re.match(r"\d{4}-", row[0])]


def page_of(lake: Lake) -> Page:
    return Page(write_page(look(lake, Limits(min_free=0), NOW)))


def linked(lake: Lake, page: Page) -> Iterator[Path]:
    """The files that the links lead to, as a browser finds them next to the page."""
    for href in page.links:
        assert not re.match(r"[a-z]+:|/|//", href), href
        yield Path(os.fsdecode(os.fsencode(lake.root) + b"/" + unquote_to_bytes(href)))


def test_a_night_is_a_row_with_what_it_did(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 3)
    page = page_of(lake)
    newest, *older = page.nights()
    assert newest[:8] == ["2026-03-01 02:15", "0", "1,062", "302", "12 9 unknown_label, 3 empty_text", "0", "1,204", "3.7%"]
    assert newest[9] == "ingest 1 min, train 14 min, score 31.5 s"
    assert newest[10] == "bilstm-20260301T021500Z-000002 90.7%"
    assert newest[11] == "log, rejects, report, predictions"
    assert [row[0] for row in older] == ["2026-02-28 02:15", "2026-02-27 02:15"]
    files = list(linked(lake, page))
    assert files and all(path.is_file() for path in files)
    assert {path.parent.name for path in files} >= {"runs", "logs", "rejects", "predictions"}


def test_a_lake_without_nights_has_a_page(tmp_path: Path) -> None:
    page = page_of(Lake(tmp_path))
    assert "Nothing has run yet." in page.text and "No model yet." in page.text and page.nights() == []
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_at_most_sixty_nights_and_only_their_records_are_read(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 62)
    for number in range(500):
        (lake.runs / f"20250101T{number:06d}.000Z-{'nightly' if number % 2 else 'train'}-abc123.json").write_text("damaged")
    page = page_of(lake)
    assert len(page.nights()) == 60 and page.nights()[0][0] == "2026-03-01 02:15"
    assert "cannot be read" not in page.text


def test_commands_of_a_day_are_a_night_and_a_retry_counts(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for day in (2, 1):
        when = LAST - timedelta(days=day)
        add_run(lake, "ingest", when, 75, error="LockedError: busy")
        add_run(lake, "ingest", when + timedelta(minutes=10), read=100, written=7, seconds=30)
        add_run(lake, "train", when + timedelta(minutes=20), 65 if day == 1 else 99, error="DataError: one class only")
        add_run(lake, "export", when + timedelta(minutes=25))
        add_run(lake, "score", when + timedelta(minutes=30), 99, known=5)
    rows = page_of(lake).nights()
    assert [row[:4] for row in rows] == [
        ["2026-02-28 02:15", "65 train", "100", "7"],
        ["2026-02-27 02:15", "0", "100", "7"],
    ]
    assert rows[0][9] == "ingest 2 min, train 1 min, score 1 min"


def test_steps_of_a_nightly_run_are_not_a_night_of_their_own_even_past_midnight(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    add_night(lake, LAST.replace(hour=23, minute=50) - timedelta(days=2), 1)
    add_run(lake, "score", LAST - timedelta(days=1), read=3, written=3)
    found = nights(Records(lake, NOW), 60)
    assert [(night.started, len(night.steps)) for night in found] == [
        ("2026-02-28T02:15:00Z", 1),
        ("2026-02-27T23:50:00Z", 3),
    ]


def test_the_model_that_was_live_after_each_night_and_why_others_are_not(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 5)
    page = page_of(lake)
    assert [row[10].split()[0][-6:] for row in page.nights()] == ["000004", "000002", "000002", "000001", "000000"]
    models = {row[0][-6:]: row for row in page.rows if row[0].startswith("bilstm")}
    assert models["000004"][1] == "live" and models["000003"][1] == "not promoted" and models["000002"][1] == "was live"
    assert models["000003"][4] == "88.1% against 90.2% on 2,000 reviews, p < 0.001"


def test_models_of_numbers_have_errors_instead_of_accuracies(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 1)
    add_model(lake, "ridge-20260203T020000Z-000000", metrics={"test_mae": 1.4812, "test_rows": 2000})
    go_live(lake, "ridge-20260203T020000Z-000000", NOW)
    errors = {"challenger_accuracy": None, "live_accuracy": None, "challenger_mae": 1.4812, "live_mae": 1.9}
    decide(lake, "ridge-20260203T020000Z-000000", NOW, promotion(**errors))
    text = page_of(lake).text
    assert "MAE 1.481 (test)" in text and "MAE 1.481 against MAE 1.9 on 2,000 reviews" in text
    assert "mean absolute error on test reviews" in text
    found = run_here("status", "--json", "--lake", lake.root)
    assert json.loads(found.stdout)["live"]["mae"] == 1.4812 and json.loads(found.stdout)["live"]["accuracy"] is None
    assert "MAE 1.481 on test" in run_here("status", "--lake", lake.root).stdout


def test_drift_that_was_not_measured_is_not_called_none(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    found = {"measured": False, "drifted": False, "reason": "too few reviews", "rows": 9, "psi": {}, "over": []}
    add_run(lake, "score", LAST, metrics={"drift": found})
    assert "Drift–not measured: too few reviews" in page_of(lake).text
    assert "not measured: too few reviews" in run_here("--lake", lake.root, "status").stdout


def test_torn_and_odd_decisions_are_passed_over(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 1)
    path = lake.models / "decisions.jsonl"
    path.write_bytes(path.read_bytes() + b'[1]\n{"model_id": 7}\n\xff\n{"model_id": "half')
    assert "bilstm-20260301T021500Z-000000" in page_of(lake).text
    add_line(path, model_id="gone-20260101T000000Z-ffffff", decision="promoted", decided="2026-01-01T00:00:00Z", rows="many")
    assert "gone-20260101T000000Z-ffffff" not in page_of(lake).links


def test_figures_of_a_deleted_model_come_from_its_training(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 2)
    for path in (lake.models / "bilstm-20260228T021500Z-000000").iterdir():
        path.unlink()
    (lake.models / "bilstm-20260228T021500Z-000000").rmdir()
    assert page_of(lake).nights()[1][10] == "bilstm-20260228T021500Z-000000 90.0%"


HOSTILE = "<script>alert(1)</script>&\"'\u202e\x1b[2J"


def test_nothing_from_outside_is_markup(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    add_model(lake, "nbsvm-<b>x")
    go_live(lake, "nbsvm-<b>x", LAST, HOSTILE)
    decide(lake, "nbsvm-<b>x", LAST, promotion(message=HOSTILE))
    add_run(lake, "ingest", LAST, rejected=3, metrics={"rejects": {HOSTILE: 3}}, outputs={"rejects": HOSTILE})
    add_run(lake, "train", LAST, metrics={"promotion": promotion("not promoted", HOSTILE, message=HOSTILE)})
    add_run(lake, "score", LAST, 65, error=f"DataError: {HOSTILE}", outputs={"model": HOSTILE})
    add_run(lake, "nightly", LAST, metrics={"attention": [HOSTILE], "log": HOSTILE, "steps": [{"command": HOSTILE}]})
    path = write_page(look(lake, Limits(min_free=0), NOW))
    source = path.read_text(encoding="utf-8")
    assert source.count("<script") == 1 and "alert(1)" in source and "<b>" not in source
    assert "\u202e" not in source and "\x1b" not in source
    assert "b" not in Page(path).tags


@pytest.mark.parametrize(
    "name", ["a b#c%20?.parquet", "ü:x.parquet", "javascript:alert(1)", "line\nbreak.parquet", "\udcff.parquet"]
)
def test_names_with_odd_characters_are_linked(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / "a lake % #")
    target = lake.predictions / name
    target.parent.mkdir(parents=True)
    target.write_text("rows")
    stored = os.fsencode(f"predictions/{name}").decode("utf-8", "backslashreplace")
    add_run(lake, "score", LAST, outputs={"predictions": [stored, "predictions/gone.parquet", "/etc/passwd", "../outside"]})
    page = page_of(lake)
    found = [path for path in linked(lake, page) if path.parent.name == "predictions"]
    assert found == ([] if "\udcff" in name else [target]), (
        "a byte that is not UTF-8 is stored as an escape, which names no file"
    )
    assert "gone.parquet" not in page.text


def test_files_elsewhere_are_not_linked_even_if_the_lake_holds_a_link_to_them(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    outside = tmp_path / "outside.parquet"
    outside.write_text("rows")
    add_run(lake, "score", LAST, outputs={"predictions": str(outside)})
    add_run(lake, "ingest", LAST, outputs={"rejects": f"{lake.root}/../outside.parquet"})
    assert page_of(lake).links == []


def test_the_page_is_replaced_as_a_whole(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 1)
    path = write_page(look(lake, Limits(min_free=0), NOW))
    with path.open("rb") as reader:
        before = reader.read(100)
        add_night(lake, NOW - timedelta(hours=1), 2)
        write_page(look(lake, Limits(min_free=0), NOW))
        rest = reader.read()
    assert (before + rest).endswith(b"</html>") or (before + rest).rstrip().endswith(b"</html>")
    assert len(Page(path).nights()) == 2 and not [*tmp_path.glob(".tmp-*")]


def test_without_jinja2_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "pipeline.status.page", raising=False)
    with pytest.raises(UsageError, match="pip install jinja2"):
        write_page(look(Lake(tmp_path), Limits(), NOW))
    assert not (tmp_path / "index.html").exists()
