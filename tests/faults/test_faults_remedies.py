"""Every remedy that a message names is done as it stands there, and what complained is content afterwards.

The words come from the message: a command between quotation marks is run as written, an option is taken from where it is
named. So a message that names what does not help, or does not exist, fails here.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.lake.paths import Lake
from tests.support.reviews import write_corpus

TRAIN = ("train", "--arch", "rnn", "--epochs", 1, "--hidden-dim", 4, "--embedding-dim", 4, "--workers", 0, "--no-baseline")
INGEST = ("ingest", "--workers", 0)
DOCTOR = ("doctor", "--verify")
QUOTED = re.compile(r"'pipeline ([^']+)'")


@dataclass
class Shell:
    """A lake and its command line; `said` is what the last command wrote for people."""

    lake: Lake
    main: Callable[..., int]
    capture: pytest.CaptureFixture[str]
    said: str = ""

    def run(self, *words: object) -> int:
        """Runs `pipeline WORDS…` in the lake; gives its exit code."""
        where = () if "--lake" in words else ("--lake", self.lake.root)
        self.capture.readouterr()
        code = self.main(*words, *where)
        out, err = self.capture.readouterr()
        self.said = f"{out}\n{err}"
        return code

    @property
    def input(self) -> Path:
        return self.lake.root / "input.parquet"

    @property
    def live(self) -> Path:
        return self.lake.models / self.lake.latest_model()

    def quoted(self, name: str) -> list[str]:
        """The command that the message puts between quotation marks, as words; the first of that name."""
        found = next(command for command in QUOTED.findall(self.said) if command.split()[0] == name)
        return shlex.split(found)

    def option(self, pattern: str) -> list[str]:
        """The option that the message names, with what follows it there."""
        found = re.search(pattern, self.said)
        assert found, self.said
        return shlex.split(found[1])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 8
    path.write_bytes(content)


@dataclass(frozen=True)
class Remedy:
    """Something is broken, `complains` ends with `code`; `remedy` does what the message says; then `content` ends with 0 or
    99, and so does doctor."""

    name: str
    break_it: Callable[[Shell], object]
    complains: Callable[[Shell], tuple[object, ...]]
    code: int
    remedy: Callable[[Shell], object]
    content: Callable[[Shell], tuple[object, ...]] | None = None
    draws: bool = False
    """Whether trainings draw their pages, which takes longer than all the rest."""


def score(shell: Shell) -> tuple[object, ...]:
    return ("score", shell.input)


def score_to(name: str) -> Callable[[Shell], tuple[object, ...]]:
    return lambda shell: ("score", shell.input, "--output", shell.lake.root.parent / name)


def command(*words: object) -> Callable[[Shell], tuple[object, ...]]:
    return lambda shell: words


def quoted(name: str, *more: object) -> Callable[[Shell], object]:
    """Runs the command that the message quotes; `more` are words that it leaves to the user."""

    def run(shell: Shell) -> None:
        words = [*shell.quoted(name), *more]
        assert shell.run(*words) in (0, 99), (words, shell.said)

    return run


def with_option(pattern: str, *words: object) -> Callable[[Shell], object]:
    """Runs the command again with the option that the message names."""

    def run(shell: Shell) -> None:
        given = [*words, *shell.option(pattern)]
        assert shell.run(*given) in (0, 99), (given, shell.said)

    return run


def delete_the_bundle_and_train_again(shell: Shell) -> None:
    assert re.search(r"delete it and train again", shell.said), shell.said
    shutil.rmtree(shell.live)
    assert shell.run(*TRAIN) == 0, shell.said


def score_with_force(shell: Shell) -> None:
    words = [*score_to("out.csv")(shell), *shell.option(r"again with (--force)")]
    assert shell.run(*words) == 0, shell.said


def output_cut(shell: Shell) -> None:
    output = shell.lake.root.parent / "out.csv"
    assert shell.run(*score_to("out.csv")(shell)) == 0, shell.said
    output.write_bytes(output.read_bytes()[:-40])


def predictions_cut(shell: Shell) -> None:
    assert shell.run(*score(shell)) == 0, shell.said
    path = shell.lake.predictions / "input.parquet"
    path.write_bytes(path.read_bytes()[:-40])


def bad_rows(shell: Shell) -> None:
    lines = ["text,label", "fine,pos", *["broken"] * 3]
    (shell.lake.raw / "bad.csv").write_text("\n".join(lines) + "\n")


def allow_more(shell: Shell) -> None:
    assert shell.run(*INGEST, *shell.option(r"allow more with (--max-bad)"), "50%") == 0, shell.said


def rejects_flipped(shell: Shell) -> None:
    bad_rows(shell)
    assert shell.run(*INGEST, "--max-bad", "50%") == 0, shell.said
    (path,) = shell.lake.rejects.glob("*.parquet")
    flip(path, 60)


def rejects_deleted_and_ingested(shell: Shell) -> None:
    assert "Delete it; the next ingest recreates it." in " ".join(shell.said.split()), shell.said
    (path,) = shell.lake.rejects.glob("*.parquet")
    path.unlink()
    assert shell.run(*INGEST, "--max-bad", "50%") == 99, shell.said
    assert len(list(shell.lake.rejects.glob("*.parquet"))) == 1


def sources_moved(shell: Shell) -> None:
    shell.lake.raw.rename(shell.lake.root.parent / "moved")
    max(shell.lake.tokens.glob("*.parquet"), key=lambda path: path.stat().st_size).unlink()


def repair_from_where_they_are(shell: Shell) -> None:
    assert "pipeline repair SOURCE…" in shell.said, shell.said
    (shell.lake.root.parent / "moved").rename(shell.lake.raw)
    assert shell.run("repair", shell.lake.raw) == 0, shell.said


def a_source_lost(shell: Shell) -> None:
    shutil.rmtree(shell.lake.raw / "aclImdb" / "train" / "pos")
    for path in shell.lake.tokens.glob("train-*.parquet"):
        path.unlink()


def scored_before(shell: Shell) -> None:
    assert shell.run(*score_to("scored.parquet")(shell)) == 0, shell.said


def no_table(shell: Shell) -> None:
    shutil.rmtree(shell.lake.tokens)


def no_models(shell: Shell) -> None:
    shutil.rmtree(shell.lake.models)


def weights_flipped(shell: Shell) -> None:
    flip(shell.live / "model.safetensors", -9)


def weights_gone(shell: Shell) -> None:
    (shell.live / "model.safetensors").unlink()


def another_model_and_latest_names_none(shell: Shell) -> None:
    assert shell.run(*TRAIN, "--seed", 5) == 0, shell.said
    shutil.rmtree(shell.live)


def description_flipped(shell: Shell) -> None:
    path = shell.live / "model.json"
    path.write_text(path.read_text().replace('"max_length"', '"max_lengte"'))


def bundle_vocabulary_gone(shell: Shell) -> None:
    (shell.live / "vocabulary.parquet").write_bytes(b"")


def shard_gone(shell: Shell) -> None:
    max(shell.lake.tokens.glob("*.parquet"), key=lambda path: path.stat().st_size).unlink()


def vocabulary_gone(shell: Shell) -> None:
    next(shell.lake.vocabulary.glob("*.parquet")).unlink()


def record_cut(shell: Shell) -> None:
    path = max(shell.lake.runs.glob("*.json"))
    path.write_bytes(path.read_bytes()[:-20])


def torn_entry(shell: Shell) -> None:
    log = shell.lake.tokens / "_delta_log"
    (log / f"{len(list(log.glob('*.json'))):020}.json").write_bytes(b"")


def latest_is_damaged(shell: Shell) -> None:
    shell.lake.latest.write_bytes(b"\xff\xfe")


def leftover(shell: Shell) -> None:
    (shell.lake.models / ".tmp-dead").mkdir()


def metrics_cut(shell: Shell) -> None:
    path = shell.live / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def late_label(shell: Shell) -> None:
    (shell.lake.raw / "late.csv").write_text("text,label\nneither good nor bad,neutral\n")


def a_pipeline_toml(shell: Shell) -> None:
    (shell.lake.root / "pipeline.toml").write_text('[ingest]\nsource = ["raw"]\n')


def a_file_of_somebody(shell: Shell) -> None:
    pq.write_table(pa.table({"a": [1]}), shell.lake.root.parent / "theirs.parquet")


def nothing(shell: Shell) -> None:
    pass


RESTORED = command(*DOCTOR)
REMEDIES = [
    Remedy("no table", no_table, command("train"), 66, quoted("ingest", "--workers", 0), command(*TRAIN)),
    Remedy("no table, says doctor", no_table, RESTORED, 0, quoted("ingest", "--workers", 0)),
    Remedy("no model", no_models, score, 66, quoted("train", *TRAIN[1:]), score),
    Remedy("no model, says doctor", no_models, RESTORED, 0, quoted("train", *TRAIN[1:]), score),
    Remedy(
        "no model of that name", no_models, lambda s: (*score(s), "--model", "x"), 66, quoted("train", *TRAIN[1:]), score
    ),
    Remedy("a shard is gone", shard_gone, command(*TRAIN, "--seed", 2), 66, quoted("repair"), command(*TRAIN, "--seed", 2)),
    Remedy("a shard is gone, says doctor", shard_gone, RESTORED, 66, quoted("repair")),
    Remedy("the vocabulary is gone", vocabulary_gone, command(*INGEST), 66, quoted("repair"), command(*INGEST)),
    Remedy("the vocabulary is gone, says doctor", vocabulary_gone, RESTORED, 66, quoted("repair")),
    Remedy("a record was cut", record_cut, RESTORED, 65, quoted("repair")),
    Remedy("a log entry is torn", torn_entry, RESTORED, 0, quoted("repair")),
    Remedy("sources have moved", sources_moved, command("repair"), 66, repair_from_where_they_are),
    Remedy("a source is lost", a_source_lost, command("repair"), 65, with_option(r"rest with (--accept-loss)", "repair")),
    Remedy("LATEST is damaged", latest_is_damaged, score, 65, quoted("repair"), score),
    Remedy("weights have changed", weights_flipped, score, 65, delete_the_bundle_and_train_again, score),
    Remedy("weights are gone", weights_gone, score, 66, delete_the_bundle_and_train_again, score),
    Remedy("LATEST names none", another_model_and_latest_names_none, score, 66, quoted("repair"), score),
    Remedy("LATEST names none, says doctor", another_model_and_latest_names_none, RESTORED, 66, quoted("repair")),
    Remedy("model.json has changed", description_flipped, score, 65, delete_the_bundle_and_train_again, score),
    Remedy("weights have changed, says doctor", weights_flipped, RESTORED, 65, delete_the_bundle_and_train_again),
    Remedy("a bundle's vocabulary is empty", bundle_vocabulary_gone, score, 65, delete_the_bundle_and_train_again, score),
    Remedy("predictions were cut", predictions_cut, RESTORED, 65, lambda shell: shell.run(*score(shell)), score),
    Remedy("CSV predictions were cut", output_cut, score_to("out.csv"), 65, score_with_force, score_to("out.csv")),
    Remedy("rejects have changed", rejects_flipped, RESTORED, 0, rejects_deleted_and_ingested),
    Remedy("many bad rows", bad_rows, command(*INGEST, "--max-bad", "1"), 65, allow_more),
    Remedy("a leftover", leftover, RESTORED, 0, quoted("vacuum")),
    Remedy(
        "metrics were cut", metrics_cut, command("report"), 65, delete_the_bundle_and_train_again, command("report"), True
    ),
    Remedy(
        "another vocabulary",
        nothing,
        command(*INGEST, "--max-vocab", 9),
        2,
        with_option(r"with (--rebuild-vocab)", *INGEST, "--max-vocab", 9),
    ),
    Remedy(
        "a label that the lake does not know",
        late_label,
        command("runs"),
        0,
        lambda shell: shell.run(*INGEST, "--rebuild-vocab"),
    ),
    Remedy(
        "an output of somebody else",
        a_file_of_somebody,
        score_to("theirs.parquet"),
        2,
        lambda shell: shell.run(*score_to("theirs.parquet")(shell), *shell.option(r"or use (--force)")),
        score_to("theirs.parquet"),
    ),
    Remedy(
        "an input that was scored before",
        scored_before,
        lambda shell: ("score", shell.lake.root.parent / "scored.parquet"),
        2,
        lambda shell: shell.run("score", shell.lake.root.parent / "scored.parquet", *shell.option(r"with (--keep \w+)")),
    ),
    Remedy(
        "settings are there",
        a_pipeline_toml,
        lambda shell: ("init", shell.lake.raw),
        2,
        lambda shell: shell.run("init", shell.lake.raw, *shell.option(r"with (--force)")),
    ),
]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a model and an input to be scored."""
    from jobs import ingest, train
    from pipeline.config.ingest import IngestConfig
    from pipeline.config.train import TrainConfig

    root = tmp_path_factory.mktemp("remedies") / "lake"
    write_corpus(root / "raw", 12)
    ingest.run(IngestConfig(lake=root, workers=0))
    train.run(
        TrainConfig(
            lake=Lake(root),
            arch="rnn",
            epochs=1,
            workers=0,
            baseline=False,
            model={"hidden_dim": 4, "embedding_dim": 4},
        )
    )
    pq.write_table(pa.table({"text": [f"film {number} was so good" for number in range(9)]}), root / "input.parquet")
    return root


@pytest.fixture
def shell(
    pristine: Path, tmp_path: Path, run_main: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    shutil.copytree(pristine, tmp_path / "lake")
    yield Shell(Lake(tmp_path / "lake"), run_main, capsys)


@pytest.mark.parametrize("case", REMEDIES, ids=[case.name for case in REMEDIES])
def test_what_a_message_says_helps(case: Remedy, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case.draws:
        monkeypatch.setattr("pipeline.reports.write.write_report", lambda *_, **__: None)
    case.break_it(shell)
    assert shell.run(*case.complains(shell)) == case.code, shell.said
    case.remedy(shell)
    if case.content is not None:
        assert shell.run(*case.content(shell)) in (0, 99), shell.said
    assert shell.run(*DOCTOR) == 0, shell.said
