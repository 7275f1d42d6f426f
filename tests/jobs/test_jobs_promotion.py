"""The decision at the end of a training: what goes live, what does not, and what a kill leaves."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jobs import promotion
from jobs.promotion import Comparison
from pipeline.lake.decisions import decisions
from pipeline.lake.live import history
from pipeline.lake.paths import Lake
from pipeline.lake.shards import plain_shards
from pipeline.lake.vocabularies import write_vocabulary
from pipeline.models.bundle import read_bundle
from pipeline.order.holdout import held_out
from pipeline.order.selection import select
from pipeline.scoring import judge
from pipeline.scoring.judge import JUDGE_FILE, judging_rows, merits, read_judge
from pipeline.text.vocabulary import Vocabulary
from schemas.token import WITHOUT_TARGET, token_metadata
from tests.support.commands import invoke, run_here
from tests.support.tasks import TWO_LABELS
from tests.support.token_corpus import Corpus, write_corpus

pytestmark = pytest.mark.usefixtures("without_pages")

LINEAR = ("--arch", "nbsvm", "--workers", "0")
"""Learns the test corpus in a moment."""
BAD = (
    "--arch",
    "rnn",
    "--embedding-dim",
    4,
    "--hidden-dim",
    4,
    "--epochs",
    1,
    "--lr",
    1e-6,
    "--workers",
    0,
    "--no-baseline",
)
"""Knows hardly more than a coin."""


class Killed(BaseException):
    """No handler for errors or for signals knows it, so nothing is written after it."""


def train(lake: Path, corpus: Corpus, *options: object) -> dict[str, Any]:
    return invoke("train", "--lake", lake, "--tokens", corpus.shards, *options)


def live(lake: Path) -> str:
    return (lake / "models" / "LATEST").read_text().strip()


def change(corpus: Corpus, how: Callable[[pa.Table], pa.Table], name: str, source: str = "train-0000") -> None:
    """Writes a changed copy of a shard as the shard `name`."""
    table = pq.read_table(corpus.shards / f"{source}.parquet")
    schema = WITHOUT_TARGET.with_metadata(table.schema.metadata)
    pq.write_table(how(table).cast(schema), corpus.shards / f"{name}.parquet", row_group_size=100)


def put(table: pa.Table, **columns: Any) -> pa.Table:
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    return table


def flipped(table: pa.Table, digest: str) -> pa.Table:
    """Other labels, and so other digests."""
    labels = 1 - table["label"].to_numpy()
    return put(table, label=labels, content_sha256=[f"{digest}{label}" for label in labels])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Corpus]:
    """A lake with a good live model, and its shards: 600 reviews, some 60 of them held out."""
    folder = tmp_path_factory.mktemp("promotion")
    corpus = write_corpus(folder / "corpus", 600, shard_groups=6)
    receipt = train(folder / "lake", corpus, *LINEAR)
    assert receipt["metrics"]["promotion"]["reason"] == "first" and receipt["metrics"]["test_accuracy"] > 0.9
    return folder / "lake", corpus


@pytest.fixture
def lake(trained: tuple[Path, Corpus], tmp_path: Path) -> Path:
    return shutil.copytree(trained[0], tmp_path / "lake")


@pytest.fixture
def corpus(trained: tuple[Path, Corpus], tmp_path: Path) -> Corpus:
    """The same shards, to be changed."""
    source = trained[1]
    shutil.copytree(source.shards.parent, tmp_path / "corpus")
    return Corpus(tmp_path / "corpus" / "shards", source.vocabulary, tmp_path / "corpus" / "vocabulary")


def test_a_worse_model_does_not_replace_the_live_one_unless_somebody_says_so(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    done = run_here("train", "--lake", lake, "--tokens", corpus.shards, *BAD)
    assert done.code == 0, done.stderr
    found = done.receipt["metrics"]["promotion"]
    bad = done.receipt["outputs"]["model_id"]
    assert (found["decision"], found["live"]) == ("not promoted", good) and live(lake) == good
    assert found["reason"] in ("worse", "below majority") and found["p_value"] < 0.05
    assert found["live_accuracy"] > 0.9 > found["challenger_accuracy"] and found["rows"] > 40
    words = f"{found['challenger_accuracy']:.4f}, the live model's {found['live_accuracy']:.4f}, on {found['rows']} reviews"
    (warned,) = (line for line in done.stderr.splitlines() if "not promoted" in line)
    assert words in warned and f"'pipeline models promote {bad}'" in warned
    record = json.loads(max((lake / "runs").glob("*-train-*.json")).read_text())
    assert any(words in warning for warning in record["warnings"])

    again = run_here("train", "--lake", lake, "--tokens", corpus.shards, *BAD)
    assert again.code == 99 and live(lake) == good  # found, and still not promoted
    assert [one.model_id for one in decisions(Lake(lake))] == [good, bad]
    listed = run_here("models", "--lake", lake).stdout
    assert "not promoted on" in listed and all(len(line) <= 80 for line in listed.splitlines())
    assert words.split(",")[0] in " ".join(listed.split())
    shown = json.loads(run_here("models", "show", bad, "--lake", lake, "--json").stdout)
    assert shown["live"] is False and shown["decision"]["reason"] == found["reason"]

    assert run_here("models", "promote", bad, "--lake", lake).code == 0  # the remedy
    assert live(lake) == bad
    third = train(lake, corpus, *LINEAR, "--seed", 1)
    assert third["metrics"]["promotion"]["live"] == bad  # what a hand promoted is what counts
    assert third["metrics"]["promotion"]["reason"] == "not worse" and live(lake) == third["outputs"]["model_id"]


@pytest.mark.slow
def test_always_and_never(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    never = train(lake, corpus, *LINEAR, "--seed", 1, "--promote", "never")["metrics"]["promotion"]
    assert (never["decision"], never["reason"], live(lake)) == ("not promoted", "never", good)
    worse = ("--arch", "nbsvm", "--linear-lr", 1e-9, "--workers", 0)
    refused = train(lake, corpus, *worse, "--linear-ngrams", 1, "--holdout", 0.1)["metrics"]["promotion"]
    assert refused["challenger_accuracy"] is not None
    always = train(lake, corpus, *LINEAR, "--seed", 2, "--promote", "always")
    assert always["metrics"]["promotion"]["reason"] == "always" and live(lake) == always["outputs"]["model_id"]
    assert always["metrics"]["promotion"]["live_accuracy"] is not None


@pytest.mark.slow
def test_a_delivery_of_exchanged_labels_neither_goes_live_nor_judges(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    for number in range(4):

        def foreign(table: pa.Table, number: int = number) -> pa.Table:
            ids = [f"late/{number}/{row}" for row in range(len(table))]
            return put(flipped(table, "late"), review_id=ids, group=[f"late {number} {row}" for row in range(len(table))])

        change(corpus, foreign, f"train-late-{number}")
    receipt = train(lake, corpus, *LINEAR)
    found = receipt["metrics"]["promotion"]
    assert receipt["metrics"]["test_rows"] > 4 * found["rows"]  # today's test part is mostly theirs
    assert found["rows"] == len(read_judge(lake / "models" / good) or ())
    assert (found["decision"], found["reason"], live(lake)) == ("not promoted", "worse", good)


@pytest.mark.slow
def test_labels_exchanged_in_place_leave_nothing_to_compare_on(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    change(corpus, lambda table: flipped(table, "again"), "train-0000")
    found = train(lake, corpus, *LINEAR)["metrics"]["promotion"]
    assert (found["decision"], found["reason"], found["rows"]) == ("not promoted", "not comparable", 0)
    assert "0 are in today's test split with the same text and label, too few to compare on" in found["message"]
    assert live(lake) == good
    assert train(lake, corpus, *LINEAR, "--seed", 1, "--promote", "always")["metrics"]["promotion"]["decision"] == "promoted"
    assert train(lake, corpus, *LINEAR, "--seed", 2)["metrics"]["promotion"]["reason"] == "not worse"  # a new list counts


@pytest.mark.slow
def test_models_of_earlier_releases(lake: Path, corpus: Corpus, tmp_path: Path) -> None:
    """They have no list. One that was trained without a test part has seen today's; a `test` split was never trained on."""
    (lake / "models" / live(lake) / JUDGE_FILE).unlink()
    found = train(lake, corpus, *LINEAR, "--seed", 1)["metrics"]["promotion"]
    assert (found["decision"], found["reason"], found["rows"]) == ("promoted", "not comparable", 0)

    with_test, second = write_corpus(tmp_path / "with", 200, test_rows=60), tmp_path / "second"
    first = train(second, with_test, *LINEAR)
    model = Path(first["outputs"]["model"])
    assert "holdout" not in json.loads((model / "model.json").read_text())["training"]
    assert train(second, with_test, *LINEAR)["code"] == 99  # the identity is that of earlier releases
    (model / JUDGE_FILE).unlink()
    found = train(second, with_test, *LINEAR, "--seed", 1)["metrics"]["promotion"]
    assert (found["reason"], found["rows"]) == ("not worse", 60)


def test_the_live_model_reads_other_vocabularies_by_token(trained: tuple[Path, Corpus], tmp_path: Path) -> None:
    lake, corpus = trained
    bundle = read_bundle(lake / "models" / live(lake))
    shards = plain_shards(corpus.shards)
    part = select(shards, TWO_LABELS, 0.1, holdout=0.1)[0].part("test")
    own = merits(bundle, part, corpus.vocabulary)
    order = np.concatenate([[0, 1], 2 + np.random.default_rng(0).permutation(len(corpus.vocabulary) - 2)])
    place = np.argsort(order)
    other = Vocabulary(
        tokens=corpus.vocabulary.tokens.take(pa.array(order)),
        counts=corpus.vocabulary.counts,
        tokenizer=corpus.vocabulary.tokenizer,
        labels=corpus.vocabulary.labels[::-1],
    )
    table = pq.read_table(corpus.shards / "train-0000.parquet")
    ids = [place[np.array(review)].tolist() for review in table["ids"].to_pylist()]
    moved = put(table, ids=ids, label=1 - table["label"].to_numpy())
    shard = tmp_path / "shards" / "train-0000.parquet"
    shard.parent.mkdir()
    schema = WITHOUT_TARGET.with_metadata(token_metadata(other.fingerprint))
    pq.write_table(moved.cast(schema), shard, row_group_size=100)
    write_vocabulary(other, tmp_path / "vocabulary" / f"{other.fingerprint}.parquet")
    again = select(plain_shards(shard.parent), TWO_LABELS, 0.1, holdout=0.1)[0].part("test")
    assert again.rows == part.rows and np.array_equal(merits(bundle, again, other), own)


def test_other_labels_cannot_be_compared(lake: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other", 300, labels=("bad", "good", "so-so"))
    found = train(lake, other, *LINEAR)["metrics"]["promotion"]
    assert (found["decision"], found["reason"]) == ("promoted", "not comparable")
    assert "other labels (neg, pos)" in found["message"]


def test_a_large_test_part_is_represented_by_the_same_reviews_as_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "MOST_ROWS", 40)
    corpus = write_corpus(tmp_path, 900)
    few, all_of_them = (
        {
            review
            for group, rows in zip(part.groups, part.selected, strict=True)
            for review in pq.ParquetFile(group.path).read_row_group(group.index)["review_id"].take(rows).to_pylist()
        }
        for shards in (plain_shards(corpus.shards)[:2], plain_shards(corpus.shards))
        for part in [judging_rows(select(shards, TWO_LABELS, 0.1, holdout=0.2)[0].part("test"), None)]
    )
    assert len(few) == len(all_of_them) == 40
    seen = {review for review in all_of_them if int(review.split("/")[1]) < 600}
    assert seen <= few


@pytest.mark.parametrize(
    ("right", "wrong", "rows", "is_worse"),
    [(10, 14, 1000, False), (10, 40, 1000, True), (0, 4, 6, False), (0, 5, 6, True), (0, 0, 6, False), (0, 9, 2000, False)],
)
def test_worse_is_more_than_the_margin_and_more_than_chance(right: int, wrong: int, rows: int, is_worse: bool) -> None:
    ours, theirs = np.ones(rows, bool), np.ones(rows, bool)
    theirs[:right] = False
    ours[right : right + wrong] = False
    assert promotion.paired(ours, theirs).worse(0.005) is is_worse
    assert Comparison(obstacle="none").worse(0.0) is False


def test_a_model_below_the_majority_never_goes_live_by_itself(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 300, test_rows=200)
    change(corpus, lambda table: flipped(table, "test"), "test-0000", "test-0000")
    for more in (("--promote", "always"), ("--seed", 1)):
        done = run_here("train", "--lake", tmp_path / "lake", "--tokens", corpus.shards, *LINEAR, *more)
        found = done.receipt["metrics"]["promotion"]
        assert (done.code, found["decision"], found["reason"]) == (0, "not promoted", "below majority")
        assert not (tmp_path / "lake" / "models" / "LATEST").exists()
        assert "No model is live." in done.stderr
    scored = run_here("score", "--text", "w2 w3", "--lake", tmp_path / "lake")
    assert scored.code == 66 and "'pipeline models promote MODEL'" in scored.stderr
    remedy = f"models promote {done.receipt['outputs']['model_id']}"
    assert f"'pipeline {remedy}'" in done.stderr
    assert run_here(*remedy.split(), "--lake", tmp_path / "lake").code == 0
    assert run_here("score", "--text", "w2 w3", "--lake", tmp_path / "lake").code == 0


def test_a_first_model_that_a_few_reviews_show_below_the_majority_goes_live_with_a_warning(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", 300, test_rows=30)

    def half_flipped(table: pa.Table) -> pa.Table:
        labels = table["label"].to_numpy().copy()
        labels[:16] = 1 - labels[:16]
        return put(table, label=labels, content_sha256=[f"half{label}" for label in labels])

    change(corpus, half_flipped, "test-0000", "test-0000")
    done = run_here("train", "--lake", tmp_path / "lake", "--tokens", corpus.shards, *LINEAR)
    found = done.receipt["metrics"]
    assert found["test_accuracy"] < found["test_majority_accuracy"]
    assert (found["promotion"]["decision"], found["promotion"]["reason"]) == ("promoted", "first")
    (warned,) = (line for line in done.stderr.splitlines() if "may be worse than none" in line)
    assert f"always predicting the most frequent label has {found['test_majority_accuracy']:.4f}" in warned
    record = json.loads(max((tmp_path / "lake" / "runs").glob("*-train-*.json")).read_text())
    assert any("may be worse than none" in warning for warning in record["warnings"])
    good = run_here("train", "--lake", tmp_path / "good", "--tokens", write_corpus(tmp_path / "c", 300).shards, *LINEAR)
    assert "may be worse" not in good.stderr


def test_a_model_that_is_not_finite_never_goes_live(lake: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs import training

    good, blend = live(lake), training.blend

    def broken(*given: Any) -> Any:
        blended = blend(*given)
        next(iter(blended.model.state_dict().values())).fill_(torch.inf)
        return blended

    monkeypatch.setattr(training, "blend", broken)
    for mode in ("if-not-worse", "always"):
        receipt = train(lake, corpus, *LINEAR, "--seed", 1, "--promote", mode, "--force")
        assert receipt["metrics"]["promotion"]["reason"] == "not finite" and live(lake) == good


@pytest.mark.parametrize("where", ["add_decision", "make_live"])
def test_a_run_killed_around_the_decision_is_completed_once(
    where: str, lake: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = live(lake)

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(promotion, where, kill)
        train(lake, corpus, *LINEAR, "--seed", 1)
    assert live(lake) == good
    done = train(lake, corpus, *LINEAR, "--seed", 1)
    assert done["code"] == 0 and live(lake) == done["outputs"]["model_id"] != good
    assert train(lake, corpus, *LINEAR, "--seed", 1)["code"] == 99
    assert [one.model_id for one in decisions(Lake(lake))] == [good, done["outputs"]["model_id"]]
    assert [entry.model_id for entry in history(Lake(lake))] == [good, done["outputs"]["model_id"]]
    assert not list((lake / "checkpoints").glob("*"))


def test_a_promotion_that_a_kill_cut_off_is_completed_before_another_training_is_judged(
    lake: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(promotion, "make_live", kill)
        train(lake, corpus, *LINEAR, "--seed", 1)
    left = list(decisions(Lake(lake)))[-1].model_id
    found = train(lake, corpus, *LINEAR, "--seed", 2)["metrics"]["promotion"]
    assert (found["live"], found["reason"]) == (left, "not worse")


def test_a_refused_model_is_the_last_that_repair_makes_live(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    train(lake, corpus, *BAD)
    (lake / "models" / "LATEST").write_text("gone\n")
    assert run_here("repair", "--lake", lake).code == 0
    assert live(lake) == good


def test_a_fold_is_neither_judged_nor_live(lake: Path, corpus: Corpus) -> None:
    good = live(lake)
    receipt = train(lake, corpus, *LINEAR, "--fold", "0/4")
    assert "promotion" not in receipt["metrics"] and live(lake) == good
    held = held_out([f"train/{row}" for row in range(600)], [f"film {row // 4}" for row in range(600)], 0.1)
    assert receipt["metrics"]["test_rows"] != held.sum()
