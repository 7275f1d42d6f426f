"""The `pipeline.toml` that is written: what it means, and what it leaves of a file that was there."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.ingest import IngestConfig
from pipeline.errors import UsageError
from pipeline.inspection.guess import Guess
from pipeline.inspection.sample import look_at
from pipeline.inspection.settings import COMMENTS, Delivery, rendered, settings_for
from pipeline.options.values import from_toml
from pipeline.readers.base import Reading, Source

BEFORE = """\
# Mine.
[ingest]
text_column = "old"    # how it was
label-map = "bad=1 good=2"
max-bad = "1%"

[ingest.unknown]
deep = 1

[train]
epochs = 7  # enough

[score]
text-column = "old"
keep = ["id"]
"""


def test_what_it_does_not_write_stays_with_its_comments() -> None:
    text = rendered({"ingest": {"source": ["raw"], "text-column": "new"}, "score": {"text-column": "new"}}, BEFORE)
    assert tomllib.loads(text) == {
        "ingest": {"max-bad": "1%", "unknown": {"deep": 1}, "source": ["raw"], "text-column": "new"},
        "train": {"epochs": 7},
        "score": {"keep": ["id"], "text-column": "new"},
    }
    assert "# Mine." in text
    assert "# enough" in text


def test_writing_twice_gives_the_same_file() -> None:
    settings = {"ingest": {"source": ["raw"], "delimiter": ";"}, "score": {"text-column": "Text"}}
    once = rendered(settings, BEFORE)
    assert rendered(settings, once) == once


@given(st.dictionaries(st.sampled_from([key for command, key in COMMENTS if command == "ingest"]), st.text(), min_size=1))
def test_any_text_comes_back(values: dict[str, str]) -> None:
    for before in ("", BEFORE, 'ingest = {text-column = "old"}\n', "[score]\nkeep = []\n[ingest]\n"):
        found = tomllib.loads(rendered({"ingest": dict(values), "score": {}}, before))["ingest"]
        assert {key: found[key] for key in values} == values


def test_every_key_is_an_option_of_its_command() -> None:
    values = {key: "1024" for command, key in COMMENTS if command == "ingest"} | {"source": ["a"], "label-map": "a=1"}
    values |= {"format": "csv", "delimiter": ";", "id-conflict": "last"}
    assert len(from_toml(IngestConfig, values, "test")) == len(values)


def test_sources_are_relative_within_the_lake_and_absolute_elsewhere(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    places = (str(lake / "raw"), str(tmp_path / "exports" / "*.csv"))
    settings = settings_for(Delivery(sources=places), Guess(text=("text",)), [], lake)
    assert settings["ingest"]["source"] == ["raw", str(tmp_path / "exports" / "*.csv")]


def test_a_name_that_toml_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Rename it"):
        settings_for(Delivery(sources=(str(tmp_path / "r\udcff.csv"),)), Guess(text=("text",)), [], tmp_path / "lake")


def test_a_dialect_is_written_where_all_tables_share_it_and_it_is_unusual(tmp_path: Path) -> None:
    def sample(name: str, content: str, encoding: str = "utf-8") -> object:
        (tmp_path / name).write_text(content, encoding=encoding)
        source = Source(path=tmp_path / name, name=name, format="tsv" if name.endswith("tsv") else "csv")
        return look_at(source, Reading(), 100)

    semicolons = sample("a.csv", "Nr;Text\n" + "".join(f"{n};Schöner Käse, gern\n" for n in range(9)), "cp1252")
    commas = sample("b.csv", "Nr,Text\n" + "".join(f"{n},Good cheese\n" for n in range(9)))
    tabs = sample("c.tsv", "Nr\tText\n" + "".join(f"{n}\tGood cheese\n" for n in range(9)))

    def written(*samples: object) -> dict[str, str]:
        found = settings_for(Delivery(sources=()), Guess(text=("Text",)), samples, tmp_path)["ingest"]  # type: ignore[arg-type]
        return {key: found[key] for key in ("delimiter", "quote", "encoding") if key in found}

    assert written(semicolons) == {"delimiter": ";", "encoding": "cp1252"}
    assert written(commas) == written(tabs) == {}
    assert written(commas, semicolons) == written(commas, tabs) == {}
