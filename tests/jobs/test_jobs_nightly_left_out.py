"""Nights of a shop's export of stars from 1 to 5, from which `init` leaves out the 3: what is said, and what is not."""

import csv
import html
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Outcome, Run
from tests.support.fork_server import forked_pipeline

WORDS: dict[object, str] = {1: "dreadful", 2: "a bore", 3: "so so", 4: "good", 5: "lovely"}
Night = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _forked_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The night runs in the test's process; its steps need no start of Python each."""
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())


def delivery(lake: Path, name: str, rows: int, *odd: str) -> None:
    """As many reviews, of whose stars a fifth is 3, and one with each odd value."""
    stars = [*(1 + number % 5 for number in range(rows)), *odd]
    with (lake / "raw" / name).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "review", "stars"])
        for number, given in enumerate(stars):
            text = f"{WORDS.get(given, 'odd')} kettle of {name} number {number}"
            table.writerow([f"{name}-{number}", text, given])


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    root = tmp_path / "lake"
    (root / "raw").mkdir(parents=True)
    delivery(root, "monday.csv", 250)
    assert command("--lake", root, "init").code == 0
    settings = (root / "pipeline.toml").read_text().replace("[ingest]", "[ingest]\nunknown-warn = 0.5")
    (root / "pipeline.toml").write_text(settings + '\n[nightly]\nretrain = "never"\nunknown-limit = 0.5\n')
    return root


@pytest.fixture
def night(command: Run, lake: Path) -> Night:
    return lambda *options: command("--lake", lake, "nightly", *options)


def ingested(done: Outcome) -> dict[str, Any]:
    return next(step for step in done.receipt["metrics"]["steps"] if step["command"] == "ingest")


def needs_you(command: Run, lake: Path) -> list[str]:
    done = command("--lake", lake, "status", "--json", "--min-free", 0)
    found = [one["kind"] for one in json.loads(done.stdout)["attention"]]
    return [kind for kind in found if kind not in ("no_model", "stale")]


def shown(lake: Path) -> list[str]:
    """The cells for rejected rows on the morning page, the newest night first."""
    page = (lake / "index.html").read_text()
    cells = re.findall(r'<td class="n reasons">(.*?)</td>', page)
    return [" ".join(html.unescape(re.sub(r"<[^>]*>", "", cell)).split()) for cell in cells]


@pytest.mark.slow
def test_every_night_has_stars_left_out_and_nobody_is_told(lake: Path, night: Night, command: Run) -> None:
    assert tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]["skip-labels"] == "3"
    for number, name in enumerate(("monday.csv", "tuesday.csv", "wednesday.csv"), 1):
        delivery(lake, name, 250)
        done = night()
        step = ingested(done)
        assert (done.code, done.stderr) == (0, "")
        assert step["metrics"]["rejects"] == {"skipped_label": 50 * number}
        assert step["read"] == step["written"] + step["rejected"] + step["known"] == 250 * number
        assert needs_you(command, lake) == []
    assert shown(lake) == ["0 150 left out", "0 100 left out", "0 50 left out"]
    assert "Rows left out have a label of <code>skip-labels</code>" in (lake / "index.html").read_text()


def test_a_value_in_neither_list_is_told_once_with_its_delivery(lake: Path, night: Night, command: Run) -> None:
    delivery(lake, "tuesday.csv", 250, "n/a")
    first = night()
    assert "ingest: 1 row rejected: 1 unmapped, in raw/tuesday.csv. To see them: pipeline --lake " in first.stderr
    assert needs_you(command, lake) == ["rejected"]
    delivery(lake, "wednesday.csv", 250)
    assert night().stderr == "", "the file of rejects is another one, but only by rows left out"
    assert needs_you(command, lake) == []
    delivery(lake, "thursday.csv", 250, "?", "?")
    said = night().stderr
    assert "ingest: 3 rows rejected (1 the night before): 2 more unmapped, in raw/thursday.csv. " in said
    assert shown(lake)[0] == "3 3 unmapped 200 left out"


def test_settings_of_earlier_releases_mean_what_they_meant(lake: Path, night: Night, command: Run) -> None:
    settings = lake / "pipeline.toml"
    settings.write_text(settings.read_text().replace('skip-labels = "3"\n', ""))
    assert "ingest: 50 rows rejected: 50 unmapped, in raw/monday.csv" in night().stderr
    assert needs_you(command, lake) == ["rejected"]


def test_prometheus_gets_rows_left_out_apart(lake: Path, night: Night, tmp_path: Path) -> None:
    delivery(lake, "tuesday.csv", 0, "n/a")
    assert night("--metrics-file", tmp_path / "night.prom").code == 0
    found = (tmp_path / "night.prom").read_text()
    rows = {kind: float(value) for kind, value in re.findall(r'step_rows\{.*rows="(\w+)",step="ingest"\} (\S+)', found)}
    assert rows == {"read": 251, "written": 200, "rejected": 1, "skipped": 50, "known": 0}
