"""`pipeline train` and `pipeline evaluate` as people run them, on plain shards: bundle, receipt, refusals."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import finished
from pipeline.errors import PipelineError, UsageError
from pipeline.models.bundle import read_bundle
from tests.support.commands import invoke
from tests.support.token_corpus import Corpus, write_corpus
from tests.support.trained import SMALL, train

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_corpus(tmp_path_factory.mktemp("train"), 900, test_rows=100)


@pytest.mark.slow
def test_a_model_is_trained_once(tmp_path: Path, corpus: Corpus) -> None:
    receipt = train(tmp_path, corpus, "--lr", "0.01")
    model = Path(receipt["outputs"]["model"])
    assert receipt["code"] == 0
    assert receipt["read"] == 1000
    assert (tmp_path / "models" / "LATEST").read_text().strip() == model.name == receipt["outputs"]["model_id"]
    assert receipt["metrics"]["test_accuracy"] > 0.8
    rows = pq.read_table(model / "metrics.parquet").to_pylist()
    assert [(row["epoch"], row["phase"]) for row in rows[:4]] == [(1, "train"), (1, "valid"), (2, "train"), (2, "valid")]
    assert rows[4]["phase"] == "test"
    assert rows[2]["loss"] < rows[0]["loss"]
    assert not any((tmp_path / "checkpoints").iterdir())
    assert read_bundle(model).training["lr"] == 0.01

    # As if the process had been killed right after the bundle's rename.
    (tmp_path / "checkpoints" / model.name).mkdir()
    (tmp_path / "models" / "LATEST").write_text("an-older-one\n")
    again = train(tmp_path, corpus, "--lr", "0.01", "--workers", "0")
    assert again["code"] == 99
    assert (tmp_path / "models" / "LATEST").read_text().strip() == model.name
    assert not any((tmp_path / "checkpoints").iterdir())
    assert again["outputs"]["model_id"] == model.name
    assert train(tmp_path, corpus, "--lr", "0.01", "--force")["outputs"]["model_id"] != model.name

    evaluated = invoke("evaluate", "--lake", tmp_path, "--tokens", corpus.shards, "--model", model.name)
    assert evaluated["metrics"]["accuracy"] == pytest.approx(receipt["metrics"]["test_accuracy"])
    assert evaluated["metrics"]["loss"] == pytest.approx(receipt["metrics"]["test_loss"], abs=1e-5)
    confusion = evaluated["metrics"]["confusion"]
    assert sum(map(sum, confusion)) == 100
    assert evaluated["metrics"]["classes"]["pos"]["recall"] == pytest.approx(confusion[1][1] / sum(confusion[1]))
    valid = invoke("evaluate", "--lake", tmp_path, "--tokens", corpus.shards, "--model", model.name, "--split", "valid")
    assert valid["metrics"]["accuracy"] == pytest.approx(receipt["metrics"]["valid_accuracy"])


def test_three_classes_weights_schedule_average_and_patience(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 900, labels=("bad", "fair", "good"))
    receipt = train(
        tmp_path / "lake",
        corpus,
        "--lr",
        "0.02",
        "--schedule",
        "cosine",
        "--warmup",
        "5",
        "--average",
        "0.9",
        "--class-weights",
        "balanced",
        "--patience",
        "1",
        "--epochs",
        "4",
        "--precision",
        "bf16",
        "--tensorboard",
    )
    assert receipt["metrics"]["valid_accuracy"] > 0.6
    events = list((tmp_path / "lake" / "runs" / "tensorboard" / receipt["outputs"]["model_id"]).iterdir())
    assert events


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "arch", "layers", "dropout"),
    [("book-rnn", "rnn", 1, 0.0), ("book-bilstm", "bilstm", 1, 0.5), ("book-bigru", "bigru", 2, 0.8)],
)
def test_a_preset_gives_the_books_model_and_the_command_line_wins(
    tmp_path: Path, corpus: Corpus, preset: str, arch: str, layers: int, dropout: float
) -> None:
    receipt = invoke(
        "train", "--lake", tmp_path, "--tokens", corpus.shards, "--config", preset, "--epochs", "1", "--no-baseline"
    )
    bundle = read_bundle(Path(receipt["outputs"]["model"]))
    expected = {"embedding_dim": 100, "hidden_dim": 32, "pooling": "last", "layers": layers, "dropout": dropout}
    assert (bundle.arch, bundle.model_config) == (arch, {**bundle.model_config, **expected})
    assert (bundle.training["epochs"], bundle.training["lr"], bundle.training["average"]) == (1, 1e-3, 0.0)


def test_attention_and_its_cell_are_options(tmp_path: Path, corpus: Corpus) -> None:
    receipt = train(tmp_path, corpus, "--arch", "attention-rnn", "--attention", "local", "--cell", "gru", "--epochs", "1")
    config = read_bundle(Path(receipt["outputs"]["model"])).model_config
    assert (config["attention"], config["cell"]) == ("local", "gru")


def test_options_in_a_file(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "run.toml").write_text(
        'arch = "lstm"\nepochs = 1\nhidden_dim = 4\nbaseline = false\n[set]\nembedding_dim = 6\n'
    )
    receipt = invoke("train", "--lake", tmp_path, "--tokens", corpus.shards, "--config", tmp_path / "run.toml")
    config = read_bundle(Path(receipt["outputs"]["model"])).model_config
    assert (config["hidden_dim"], config["embedding_dim"]) == (4, 6)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--arch", "bilstn"), 2, "Did you mean 'bilstm'"),
        (("--set", "hiden_dim=3"), 2, "--hiden-dim"),
        (("--attention", "local"), 2, "--attention: the architecture 'lstm' has no such option"),
        (("--cell", "gru", "--nproc", "2"), 2, "--cell: the architecture 'lstm' has no such option"),
        (("--arch", "attention-rnn", "--attention", "locl"), 2, "Did you mean 'local'"),
        (("--arch", "attention-rnn", "--cell", "bigruu"), 2, "Did you mean 'bigru'"),
        (("--set", "novalue"), 2, "name=value"),
        (("--epochs", "0"), 2, "--epochs 0: expected 1"),
        (("--lr", "-1"), 2, "--lr"),
        (("--valid-fraction", "1.5"), 2, "--valid-fraction"),
        (("--schedule", "cosin"), 2, "Did you mean 'cosine'"),
        (("--device", "cuda"), 2, "no GPU"),
        (("--device", "cuda", "--nproc", "2"), 2, "--device cuda: torch sees no GPU"),
        (("--set", "vocab_size=7"), 2, "--set vocab_size: determined by the data"),
        (("--set", "num-classes=7"), 2, "--set num_classes: determined by the data"),
        (("--clip-norm", "nan"), 2, "--clip-norm nan"),
        (("--lr", "inf"), 2, "--lr inf"),
        (("--seed", "1" + 25 * "0"), 2, "expected 0 to 18446744073709551615"),
        (("--max-length", "1" + 25 * "0"), 2, "expected 1 to 2147483647"),
        (("--nproc", "²"), 2, "--nproc ²"),
        (("--nproc", "many"), 2, "--nproc many"),
        (("--nproc", "gpu"), 2, "--nproc gpu: torch sees no GPU"),
        (("--nproc", "20"), 2, "20 workers"),
        (("--config", "book-rn"), 2, "Did you mean 'book-rnn'"),
        (("--config", "none/there.toml"), 66, "none/there.toml"),
        (("--checkpoint-every", "often"), 2, "--checkpoint-every"),
        (("--table-version", "1"), 2, "--tokens and --table-version"),
        (("--tokens", "nowhere"), 66, "nowhere"),
        (("--vocabulary", "nowhere.parquet"), 66, "nowhere.parquet"),
    ],
)
def test_refusals(tmp_path: Path, corpus: Corpus, arguments: tuple[str, ...], code: int, said: str) -> None:
    with pytest.raises(PipelineError) as raised:
        train(tmp_path, corpus, *arguments)
    assert said in str(raised.value)
    assert raised.value.exit_code == code
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "checkpoints").exists()


def test_a_file_that_is_no_text(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "run.toml").write_bytes(b'arch = "\xff"\n')
    with pytest.raises(UsageError, match=r"run\.toml is no UTF-8"):
        train(tmp_path, corpus, "--config", tmp_path / "run.toml")


def test_unknown_key_in_a_file(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "run.toml").write_text("epoch = 3\n")
    with pytest.raises(PipelineError, match=r"'epoch' is not known. Did you mean 'epochs'"):
        train(tmp_path, corpus, "--config", tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("labels", "said"), [(("neg", "pos"), "has only one class"), (("pos",), r"one class only \(pos\)"), ((), "no labels")]
)
def test_one_class_only(tmp_path: Path, labels: tuple[str, ...], said: str) -> None:
    with pytest.raises(PipelineError, match=said) as raised:
        train(tmp_path, write_corpus(tmp_path / "corpus", 200, labels=labels, only_label=len(labels) - 1))
    assert raised.value.exit_code == 65


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="pipeline ingest") as raised:
        invoke("train", "--lake", tmp_path)
    assert raised.value.exit_code == 66


@pytest.mark.slow
def test_plain_shards_need_neither_deltalake_nor_filelock_nor_rich(tmp_path: Path, corpus: Corpus) -> None:
    """On a training machine only torch, torchdata, pyarrow, numpy, typer and safetensors may be installed."""
    import subprocess

    blocked = ("deltalake", "filelock", "rich", "jinja2", "matplotlib", "sklearn", "tensorboard", "duckdb", "polars")
    script = f"""
import sys

from importlib.machinery import PathFinder

class Absent:
    # Finds what the path holds, but for the blocked packages: as if they were not installed.
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in {blocked!r} else PathFinder.find_spec(name, path, target)

sys.meta_path = [Absent if finder is PathFinder else finder for finder in sys.meta_path]
from pipeline.cli.app import run_command_line
sys.argv = {["pipeline", "train", "--lake", str(tmp_path), "--tokens", str(corpus.shards), *SMALL]!r}
try:
    sys.exit(run_command_line())
finally:
    assert not any(name in sys.modules for name in {blocked!r})
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1])["outputs"]["model_id"]


def test_a_report_that_cannot_be_drawn_costs_nothing_but_itself(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError("a damaged shard")

    monkeypatch.setattr(finished, "illustrate", broken)
    receipt = train(tmp_path, corpus, "--epochs", "1")
    assert receipt["code"] == 0
    assert read_bundle(Path(receipt["outputs"]["model"])).arch == "lstm"
    assert "no report (OSError: a damaged shard)" in caplog.text
