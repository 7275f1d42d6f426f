"""An option is written in one place, a field of a config: a new one appears wherever options do."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from jobs.runtime import recorded_run
from pipeline.cli import app as application
from pipeline.cli import derive
from pipeline.cli.derive import config_command
from pipeline.cli.finish import Finish
from pipeline.config.ingest import IngestConfig
from pipeline.config.train import TrainConfig
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.options.files import file_values
from pipeline.options.option import OPTIMISATION, Option, fields_of
from pipeline.options.render import arguments
from pipeline.options.values import from_command_line
from tests.support.paths import ROOT


def _pairs(text: str) -> dict[str, str]:
    found = dict(pair.split("=", 1) for pair in text.split() if "=" in pair)
    if not found:
        raise ValueError("expected name=value, such as neg=1,2")
    return found


def _pairs_of_toml(value: Any) -> dict[str, str]:
    return dict(value) if isinstance(value, dict) else _pairs(value)


@dataclass(frozen=True, kw_only=True)
class GrownConfig(TrainConfig):
    """The options of train, and new ones."""

    momentum: Annotated[
        float, Option(panel=OPTIMISATION, help="Momentum of the optimizer.", minimum=0, below=1, example="0.9")
    ] = 0.0
    columns: Annotated[tuple[str, ...], Option(help="Columns; may be repeated.")] = ("text",)
    label_map: Annotated[
        dict[str, str] | None,
        Option(help="Labels of values.", from_text=_pairs, from_toml=_pairs_of_toml, identity=False),
    ] = None


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """A command line with one command, `grown`, which prints what it got and leaves a run record."""
    app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode=None)
    app.callback()(application.common)
    monkeypatch.setattr(derive, "app", app)
    monkeypatch.setattr(derive, "TABLES", {})
    monkeypatch.setattr(derive, "load_commands", lambda: None)

    def grown(config: GrownConfig, finish: Finish) -> None:
        """Trains.

        Example: pipeline grown
        """
        with recorded_run("train", config.lake, config):
            pass
        found = {"identity": config.identity({}), "arguments": arguments(config), "map": config.label_map}
        typer.echo(json.dumps(found))

    config_command(GrownConfig, presets=True)(grown)
    return app


def invoke(app: typer.Typer, lake: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["grown", "--lake", str(lake), *options])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def record(lake: Path) -> dict[str, Any]:
    newest = max((lake / "runs").glob("*.json"))
    return json.loads(newest.read_text(encoding="utf-8"))["config"]


def test_a_new_field_is_in_the_help_in_its_panel(grown: typer.Typer) -> None:
    page = CliRunner().invoke(grown, ["grown", "--help"]).stdout
    panel = page.partition("Optimisation:")[2].partition("\nRegularisation:")[0]
    assert "--momentum NUMBER" in panel
    assert "Momentum of the optimizer.  [default: 0.0]" in " ".join(panel.split()).replace(". [", ".  [")
    order = [page.index(f"\n{name}:") for name in ("Options", "Data", "Model", "Optimisation", "Hardware", "Output")]
    assert order == sorted(order)


def test_a_new_field_is_in_the_record_the_identity_and_the_workers_arguments(grown: typer.Typer, tmp_path: Path) -> None:
    found = invoke(grown, tmp_path, "--momentum", "0.5", "--columns", "a", "--columns", "b", "--label-map", "neg=1,2")
    assert found["identity"]["momentum"] == 0.5
    assert "label_map" not in found["identity"]
    assert {"--momentum=0.5", "--columns=a", "--columns=b"} <= set(found["arguments"])
    assert (record(tmp_path)["momentum"], record(tmp_path)["columns"]) == (0.5, ["a", "b"])
    assert found["map"] == {"neg": "1,2"}


def test_a_new_field_is_read_from_toml(grown: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('momentum = 0.25\ncolumns = ["summary", "text"]\nlabel-map = {neg = "1,2", pos = "4,5"}\n')
    found = invoke(grown, tmp_path, "--config", str(file))
    assert (found["identity"]["momentum"], found["identity"]["columns"]) == (0.25, ["summary", "text"])
    assert found["map"] == {"neg": "1,2", "pos": "4,5"}
    file.write_text('label_map = "neg=1,2 pos=4,5"\ncolumns = "body"\n')
    found = invoke(grown, tmp_path, "--config", str(file))
    assert (found["map"], found["identity"]["columns"]) == ({"neg": "1,2", "pos": "4,5"}, ["body"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--momentum", "1"), "--momentum 1.0: expected a number from 0 up to, but below, 1, such as 0.9."),
        (("--momentum", "nan"), "--momentum nan: expected a number from 0"),
        (("--label-map", "neg"), "--label-map neg: expected name=value"),
    ],
)
def test_a_new_field_is_checked(grown: typer.Typer, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        invoke(grown, tmp_path, *options)
    assert message in str(raised.value)


def test_the_command_line_goes_before_config_before_the_lakes_file_before_the_default(
    grown: typer.Typer, tmp_path: Path
) -> None:
    (tmp_path / "pipeline.toml").write_text(
        "[grown]\nepochs = 5\nseed = 5\nbatch-size = 5\nhidden_dim = 5\ndropout = 0.5\nforce = true\n"
    )
    (tmp_path / "run.toml").write_text("epochs = 6\nseed = 6\nhidden-dim = 6\n[set]\nembedding_dim = 6\n")
    found = invoke(grown, tmp_path, "--config", str(tmp_path / "run.toml"), "--epochs", "7", "--no-force")
    chosen = {name: found["identity"][name] for name in ("epochs", "seed", "batch_size", "lr")}
    assert chosen == {"epochs": 7, "seed": 6, "batch_size": 5, "lr": 1e-3}
    assert found["identity"]["model"] == {"hidden_dim": 6, "dropout": 0.5, "embedding_dim": 6}
    assert "--no-force" in found["arguments"]


def test_the_workers_arguments_give_the_same_config(grown: typer.Typer, tmp_path: Path) -> None:
    first = invoke(
        grown, tmp_path, "--hidden-dim", "4", "--set", "layers=2", "--lr", "1e-05", "--resume", "--columns", "a b"
    )
    (tmp_path / "pipeline.toml").write_text("[grown]\nforce = true\nlr = 3\nhidden-dim = 9\n")
    again = invoke(grown, tmp_path, *first["arguments"])
    assert again["identity"] == first["identity"]
    assert again["arguments"] == first["arguments"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[grown]\nepoch = 3\n", "pipeline.toml: [grown]: 'epoch' is not known. Did you mean 'epochs'?"),
        ("[grown]\nepochs = 0\n", "pipeline.toml: [grown]: epochs 0: expected 1 or more."),
        ("[grown]\nepochs = 1.5\n", "pipeline.toml: [grown]: epochs 1.5: expected a whole number, 1 or more."),
        ("[grown]\nepochs = true\n", "pipeline.toml: [grown]: epochs True: expected a whole number"),
        ('[grown]\nforce = "perhaps"\n', "pipeline.toml: [grown]: force 'perhaps': expected true or false."),
        ('[grown]\nlr = "fast"\n', "pipeline.toml: [grown]: lr 'fast': expected a number above 0."),
        (f"[grown]\nlr = 1{400 * '0'}\n", "pipeline.toml: [grown]: lr inf: expected a number above 0."),
        ("[grown]\nlr = nan\n", "pipeline.toml: [grown]: lr nan: expected a number above 0."),
        ("[grown]\nhidden-dim = 0\n", "pipeline.toml: [grown]: hidden-dim 0: expected 1 to 1000000."),
        ('[grown]\nschedule = "cosin"\n', "pipeline.toml: [grown]: schedule: 'cosin' is not known. Did you mean 'cosine'?"),
        ('[grown]\ncheckpoint-every = "often"\n', "checkpoint-every often: expected a number of steps such as 200"),
        ("[grown]\ncolumns = [1]\n", "pipeline.toml: [grown]: columns [1]: expected a list of texts."),
        ("[grown]\nlabel-map = 'x'\n", "pipeline.toml: [grown]: label-map 'x': expected name=value"),
        ("[grown]\nset = 3\n", "pipeline.toml: [grown]: set 3: expected a table of names and values."),
        ("[grown]\nclip-norm = 1\nclip_norm = 2\n", "[grown]: clip-norm and clip_norm are one option. Remove one of them."),
        ("[grown]\nhidden_dim = 8\nhidden-dim = 8\n", "[grown]: hidden_dim and hidden-dim are one option."),
        ("[grown]\nset = {hidden-dim = 8, hidden_dim = 9}\n", "set: hidden-dim and hidden_dim are one option."),
        ("[gron]\nepochs = 3\n", "pipeline.toml: 'gron' is not known. Did you mean 'grown'?"),
        ("grown = 3\n", "pipeline.toml: grown = 3: expected a table [grown] of options."),
        ("[grown\n", "pipeline.toml is not TOML"),
    ],
)
def test_the_lakes_file_is_checked_by_key(grown: typer.Typer, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "pipeline.toml").write_text(content)
    with pytest.raises(UsageError) as raised:
        invoke(grown, tmp_path)
    assert message in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_number_is_text_where_text_is_wanted(grown: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text("[grown]\nnproc = 2\ncheckpoint-every = 200\nlr = 1\nepochs = '2'\n")
    invoke(grown, tmp_path)
    config = record(tmp_path)
    assert (config["nproc"], config["checkpoint_every"], config["lr"], config["epochs"]) == ("2", "200", 1.0, 2)


def test_paths_in_the_lakes_file_begin_at_the_lake(grown: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text('[grown]\nembeddings = "vectors.txt"\n')
    (tmp_path / "vectors.txt").write_text("good 1.0 2.0\n")
    invoke(grown, tmp_path)
    assert record(tmp_path)["embeddings"] == str(tmp_path / "vectors.txt")


GIVEN_BY_CODE = {"IngestConfig": ("replacing", "accept_loss"), "EvaluateConfig": ("inherited",)}
"""Fields that other code sets, not people."""


def test_every_field_of_a_config_is_an_option_but_the_lake() -> None:
    application.load_commands()
    for config in derive.TABLES.values():
        options = [field.name for field in fields_of(config)]
        assert {"lake", *options, *GIVEN_BY_CODE.get(config.__name__, ())} == {field.name for field in fields(config)}, (
            config
        )


IDENTITY = (
    '{"adversarial": 0.0, "adversarial_warmup": 1.0, "arch": "bilstm", "average": 0.998, "batch_size": 64, '
    '"calibrate": true, "class_weights": "auto", "clip_norm": 1.0, "embedding_init": "text", '
    '"embedding_update": "auto", "epochs": null, "fold": null, "lanes": 16, "linear_batch_size": 32, '
    '"linear_bits": 22, "linear_epochs": null, "linear_length": 4096, "linear_lr": 0.02, "linear_ngrams": 3, '
    '"linear_scale": 0.15, "locked_dropout": 0.0, "lr": 0.001, "max_length": 400, "model": {}, '
    '"patience": 0, "precision": "auto", "schedule": "linear", "seed": 0, "select": "accuracy", '
    '"truncation": "head", "unlabelled": null, "valid_fraction": 0.1, "warmup": 0, "wide": null, '
    '"window_rows": 32768, "word_dropout": 0.0}'
)
"""What decides a training with the defaults, as bundles and unfinished trainings note it."""


def test_the_identity_of_a_training_stays() -> None:
    everything_else = {
        "lake": Lake(Path("/elsewhere")),
        "tokens": Path("shards"),
        "vocabulary": Path("v.parquet"),
        "device": "cpu",
        "workers": 7,
        "nproc": "2",
        "max_restarts": 1,
        "checkpoint_every": "5",
        "keep_checkpoints": 9,
        "resume": True,
        "force": True,
        "tensorboard": True,
    }
    with_test = TrainConfig(**everything_else, promote="never", promote_margin=0.1).identity({}, has_test=True)
    assert json.dumps(with_test, sort_keys=True) == IDENTITY
    changed = TrainConfig(lake=Lake(Path("/lake")), arch="gru", model={"hidden_dim": 8}).identity({"data": 1})
    assert json.dumps(changed, sort_keys=True) == json.dumps(
        {**json.loads(IDENTITY), "arch": "gru", "model": {"hidden_dim": 8}, "data": 1, "holdout": 0.1}, sort_keys=True
    )


def test_a_holdout_belongs_to_the_identity_only_where_it_is_made() -> None:
    lake = Lake(Path("/lake"))
    with_share = TrainConfig(lake=lake, holdout=0.2).identity({})
    assert with_share == {**json.loads(IDENTITY), "holdout": 0.2}
    assert json.dumps(TrainConfig(lake=lake, holdout=0.0).identity({}), sort_keys=True) == IDENTITY
    assert TrainConfig(lake=lake, fold="0/5").identity({}) == {**json.loads(IDENTITY), "fold": "0/5"}
    with pytest.raises(UsageError, match=r"--fold 0/5 and --holdout 0\.2.*pass --holdout 0"):
        TrainConfig(lake=lake, fold="0/5", holdout=0.2)
    TrainConfig(lake=lake, fold="0/5", holdout=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--hidden-dim", "0"), "--hidden-dim 0: expected 1 to 1000000."),
        (("--hidden-dim", "1" + 25 * "0"), "expected 1 to 1000000."),
        (("--layers", "1" + 25 * "0"), "expected 1 to 1000."),
        (("--workers", "1" + 25 * "0"), "expected 0 to 1024."),
        (("--epochs", "1" + 25 * "0"), "expected a whole number of at most 64 bits, 1 or more."),
        (("--lr", "nan"), "--lr nan: expected a number above 0."),
        (("--dropout", "2"), "--dropout 2.0: expected a number from 0 up to, but below, 1."),
        (("--pooling", "maximum"), "--pooling: 'maximum' is not known. Did you mean 'max'?"),
        (("--arch", "bag", "--hidden-dim", "8"), "--hidden-dim: the architecture 'bag' has no such option."),
        (("--arch", "goru", "--hidden-dim", "1"), "--hidden-dim 1: expected 2 to 1000000."),
        (("--arch", "grid-lstm", "--dimensions", "3"), "--dimensions 3: expected 1 or 2."),
        (("--arch", "transformer", "--heads", "3"), "--heads 3: must divide --hidden-dim 128."),
        (("--set", "hidden_dim=[1]"), "--hidden-dim (1,): expected a whole number from 1 to 1000000."),
    ],
)
def test_a_bad_value_is_refused_before_the_lake_is_opened(
    tmp_path: Path, options: tuple[str, ...], message: str, run_main: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main("train", "--lake", tmp_path / "lake", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


def test_lists_of_labels_may_be_given_in_several_options() -> None:
    given = {"label_map": ["neg=1,2", "pos=4..5"], "skip_labels": ["3", "N/A"]}
    once = {"label_map": ["neg=1,2 pos=4..5"], "skip_labels": ["3,N/A"]}
    assert from_command_line(IngestConfig, given) == from_command_line(IngestConfig, once)


def test_the_file_of_the_documentation_is_read(tmp_path: Path) -> None:
    (content,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "options.md").read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "pipeline.toml").write_text(content, encoding="utf-8")
    application.load_commands()
    found = {
        command: file_values(config, command, lambda: derive.TABLES, tmp_path) for command, config in derive.TABLES.items()
    }
    assert found["ingest"]["sources"] == (str(tmp_path / "raw"), "/srv/exports/reviews.csv.gz")
    assert found["train"]["model"] == {"hidden_dim": 64}
    assert (found["score"], found["vacuum"]) == ({"keep": ("id", "text")}, {})


def test_configs_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "import pipeline.config.train, pipeline.config.ingest, pipeline.config.score, pipeline.config.evaluate\n"
        "from pipeline.models.registry import model_options\n"
        "assert 'heads' in model_options()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "pyarrow", "numpy", "typer", "click"} & set(done.stdout.split())


@pytest.mark.parametrize("preset", ["fast", "default", "best"])
def test_presets_of_accuracy_are_options_of_train(tmp_path: Path, preset: str) -> None:
    values = file_values(TrainConfig, "train", lambda: ["train"], tmp_path, preset)

    config = TrainConfig(lake=Lake(tmp_path), **values)

    assert config.is_wide
    assert (config == TrainConfig(lake=Lake(tmp_path))) == (preset == "default")


@pytest.mark.parametrize(("steps", "epochs"), [(1, 20), (100, 10), (333, 4), (334, 3), (5000, 3)])
def test_few_reviews_are_read_more_often(tmp_path: Path, steps: int, epochs: int) -> None:
    assert TrainConfig(lake=Lake(tmp_path)).epochs_for(steps) == epochs
    assert TrainConfig(lake=Lake(tmp_path), epochs=2).epochs_for(steps) == 2


def test_a_ratio_that_was_chosen_is_kept_to(tmp_path: Path) -> None:
    assert TrainConfig(lake=Lake(tmp_path)).unlabelled_at_least > 0
    assert TrainConfig(lake=Lake(tmp_path), unlabelled=2.0).unlabelled_at_least == 0
