"""`pipeline models`, as a person and a script read it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.app import app, load_commands
from pipeline.errors import InputNotFoundError
from pipeline.models.bundle import save_bundle
from pipeline.models.registry import architectures, build_model
from tests.support.models import make_vocabulary


@pytest.fixture(scope="module", autouse=True)
def commands() -> None:
    load_commands()


def save(models: Path, model_id: str, created: str, metrics: dict[str, float], table_version: int | None) -> None:
    vocabulary = make_vocabulary()
    model = build_model("rnn", {"vocab_size": len(vocabulary), "num_classes": 2, "hidden_dim": 2, "embedding_dim": 2})
    save_bundle(
        models / model_id,
        model=model,
        arch="rnn",
        labels=("neg", "pos"),
        tokenizer="basic_english",
        max_length=9,
        vocabulary=vocabulary,
        table_version=table_version,
        metrics=metrics,
        training={},
        created=created,
    )


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    save(models, "b", "2026-01-02", {"valid_accuracy": 0.75, "test_accuracy": 0.7}, 4)
    save(models, "c", "2026-01-01", {"valid_accuracy": 0.5}, None)
    save(models, "a", "2026-01-03", {}, 5)
    (models / ".tmp-d").mkdir()
    (models / ".tmp-d" / "model.json").write_text("{}")
    (models / "LATEST").write_text("b\n")
    return tmp_path


def test_lists_the_models_oldest_first(lake: Path) -> None:
    done = CliRunner().invoke(app, ["models", "--lake", str(lake)])
    assert done.exit_code == 0, done.output
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["model", "accuracy", "on", "table"],
        ["c", "0.5000", "valid", "-"],
        ["b", "0.7000", "test", "4", "LATEST"],
        ["a", "-", "-", "5"],
    ]


def test_one_model_in_detail(lake: Path) -> None:
    shown = CliRunner().invoke(app, ["models", "show", "--lake", str(lake)]).stdout
    facts = {line[:14].strip(): line[14:].strip() for line in shown.splitlines()}
    assert facts["model"] == "b (LATEST)" and facts["labels"] == "neg, pos"
    assert facts["test"] == "accuracy 0.7000" and facts["table"] == "version 4"
    (lake / "models" / "b").rename(lake / "models" / "bilstm-1")
    shown = CliRunner().invoke(app, ["models", "show", "bilstm", "--lake", str(lake)]).stdout
    assert shown.startswith("model         bilstm-1\n")
    error = CliRunner().invoke(app, ["models", "show", "bilstn", "--lake", str(lake)]).exception
    assert isinstance(error, InputNotFoundError) and "Did you mean 'bilstm-1'?" in str(error)


def test_the_tables_fit_80_columns(lake: Path) -> None:
    (lake / "models" / "c").rename(lake / "models" / "peephole-lstm-20260131T040000Z-1a2b3c")
    for arguments in ([], ["--archs"]):
        done = CliRunner().invoke(app, ["models", "--lake", str(lake), *arguments])
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_says_the_same(lake: Path) -> None:
    rows = json.loads(CliRunner().invoke(app, ["--lake", str(lake), "models", "--json"]).stdout)
    assert [(row["model_id"], row["accuracy"], row["latest"]) for row in rows] == [
        ("c", 0.5, False),
        ("b", 0.7, True),
        ("a", None, False),
    ]
    assert rows[1]["vocabulary"] == make_vocabulary().fingerprint and rows[1]["labels"] == ["neg", "pos"]


def test_a_broken_bundle_does_not_hide_the_others(lake: Path, caplog: pytest.LogCaptureFixture) -> None:
    (lake / "models" / "c" / "model.json").write_text("{")
    done = CliRunner().invoke(app, ["models", "--lake", str(lake), "--json"])
    assert [row["model_id"] for row in json.loads(done.stdout)] == ["b", "a"]
    assert "skipped" in caplog.text and "is not the file that was written" in caplog.text


def test_an_empty_lake(tmp_path: Path) -> None:
    assert "No models yet" in CliRunner().invoke(app, ["models", "--lake", str(tmp_path)]).stdout
    assert CliRunner().invoke(app, ["models", "--lake", str(tmp_path), "--json"]).stdout == "[]\n"


def test_architectures_with_year_paper_and_parameters() -> None:
    rows = json.loads(CliRunner().invoke(app, ["models", "--archs", "--json"]).stdout)
    assert {row["arch"] for row in rows} == set(architectures())
    assert [row["year"] for row in rows] == sorted(row["year"] for row in rows)
    (lstm,) = (row for row in rows if row["arch"] == "lstm")
    model = build_model("lstm", {"vocab_size": 30_002, "num_classes": 2})
    assert lstm["parameters"] == model.num_parameters() and lstm["defaults"]["hidden_dim"] == 128
    shown = CliRunner().invoke(app, ["models", "--archs"]).stdout
    assert f"{model.num_parameters():,}" in shown and "Hochreiter & Schmidhuber 1997" in shown
