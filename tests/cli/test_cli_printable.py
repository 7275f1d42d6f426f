"""Control characters in file names, labels, tokens and arguments never reach the terminal; JSON still means the same."""

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from pipeline.lake.paths import Lake
from pipeline.models.bundle import save_bundle
from pipeline.models.registry import build_model
from tests.support.commands import Outcome, Run
from tests.support.models import make_vocabulary

EVIL = "\x1b]0;mine\x07\x9b31m\nWARNING forged\u202e"
SHOWN = r"\x1b]0;mine\x07\u009b31m\nWARNING forged\u202e"
OUR_LINES = re.compile(r"\d\d:\d\d:\d\d (INFO|WARNING|ERROR) |pipeline: |Usage: |Try |Error: |$")


def assert_safe(outcome: Outcome) -> None:
    """Only our own line breaks, and each line begins as ours do."""
    for stream in (outcome.stdout, outcome.stderr):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", stream), ascii(stream)
    assert all(map(OUR_LINES.match, outcome.stderr.split("\n"))), outcome.stderr


@pytest.mark.slow
def test_a_missing_file_is_named_in_one_line(tmp_path: Path, pipeline: Run) -> None:
    done = pipeline("ingest", "--lake", tmp_path / "lake", tmp_path / (EVIL + os.fsdecode(b"\xff")))
    assert done.code == 66
    assert_safe(done)
    assert SHOWN + r"\xff" in done.stderr.splitlines()[-1]


def test_a_debugging_traceback_is_escaped_too(tmp_path: Path, command: Run) -> None:
    done = command("ingest", "--lake", tmp_path / "lake", tmp_path / EVIL, PIPELINE_DEBUG="1")
    assert "\x1b" not in done.stderr and "Traceback (most recent call last):\n" in done.stderr


@pytest.mark.parametrize("arguments", [[f"--{EVIL}"], ["ingest", f"--{EVIL}"], ["train", "--arch", EVIL], [EVIL]])
def test_wrong_arguments_are_quoted_escaped(run_main, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code = run_main(*arguments)
    done = Outcome(code, *capsys.readouterr())
    assert done.code == 2
    assert_safe(done)
    assert "forged" in done.stderr


def test_a_lake_of_evil_names_is_ingested_and_listed(tmp_path: Path, command: Run) -> None:
    source = tmp_path / f"{EVIL}.csv"
    rows = [{"text": f"the\x1b[2Jfilm {number}", "label": ("neg", f"pos{EVIL}")[number % 2]} for number in range(4)]
    pa.csv.write_csv(pa.Table.from_pylist([*rows, {"text": "", "label": "neg"}]), source)
    done = command("ingest", "--lake", tmp_path / "lake", source)
    assert (done.code, done.receipt["written"]) == (0, 4)
    assert_safe(done)
    assert done.receipt["metrics"]["labels"] == ["neg", f"pos{EVIL}"]

    listed = command("vocab", "--lake", tmp_path / "lake")
    assert_safe(listed)
    assert r"the\x1b[2jfilm" in listed.stdout and r"pos\x1b]0;mine" in listed.stdout
    as_json = command("vocab", "--lake", tmp_path / "lake", "--json")
    assert_safe(as_json)
    assert ["the\x1b[2jfilm", 4] in json.loads(as_json.stdout)["top"]

    source.write_bytes(source.read_bytes() + b"one,two,three\n")
    strict = command("ingest", "--lake", tmp_path / "lake", source, "--strict")
    assert strict.code == 65
    assert_safe(strict)


def test_listings_of_runs_and_models_stay_tables(tmp_path: Path, command: Run) -> None:
    lake = Lake(tmp_path / "lake")
    vocabulary = make_vocabulary()
    model = build_model("rnn", {"vocab_size": len(vocabulary), "num_classes": 2, "hidden_dim": 2, "embedding_dim": 2})
    save_bundle(
        lake.models / f"m{EVIL}",
        model=model,
        arch="rnn",
        labels=("neg", EVIL),
        tokenizer="basic_english",
        max_length=9,
        vocabulary=vocabulary,
        table_version=1,
        metrics={},
        training={},
        created="2026-01-01",
    )
    done = command("models", "--lake", lake.root)
    assert_safe(done)
    assert done.code == 0 and len(done.stdout.splitlines()) == 2 and f"m{SHOWN}" in done.stdout
    as_json = command("models", "--lake", lake.root, "--json")
    assert_safe(as_json)
    assert [(row["model_id"], row["labels"]) for row in json.loads(as_json.stdout)] == [(f"m{EVIL}", ["neg", EVIL])]

    assert command("ingest", "--lake", lake.root, tmp_path / EVIL).code == 66  # its record holds the name
    table = command("runs", "--lake", lake.root)
    assert_safe(table)
    assert len(table.stdout.splitlines()) == 3  # head, run, and why it failed
    whole = command("runs", "--lake", lake.root, "--json")
    assert_safe(whole)
    assert EVIL in json.loads(whole.stdout)[0]["error"]
