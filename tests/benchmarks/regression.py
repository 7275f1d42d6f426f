"""Regression on a fold of a lake, beside scikit-learn's ridge on the same n-grams: mean absolute error and rank correlation.

    python -m tests.benchmarks.regression LAKE FOLD ARCH…

The ridge gets the distinct 1- to 3-grams of each review, hashed into 2^22 buckets, as `--arch ridge` does: 1 for each, rows
of length 1, or TF-IDF in rows of length 1. Its penalty is the one with the least mean absolute error on the validation part;
its predictions are clipped to the range of the training part, as ours are.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from pipeline.datapipes.part_rows import read_part
from pipeline.lake.paths import Lake
from pipeline.models.bundle import read_bundle
from pipeline.order.folds import Fold
from pipeline.order.selection import Part, Selection, select
from pipeline.tasks.figures import NumberEvaluation, measured
from pipeline.tasks.kinds import REGRESSION
from pipeline.tasks.registry import task_for
from pipeline.tasks.regression import Regression
from pipeline.text.ngrams import ngram_buckets
from pipeline.training.data import open_data
from tests.support.commands import run_process

NGRAMS, BITS, LONGEST = 3, 22, 4096
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
BINARY_PENALTIES = (10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Rows:
    """The n-grams of N reviews, sparse (N, K), and their numbers (N,)."""

    ngrams: Any
    target_N: np.ndarray


def main(lake: str, fold: str, *archs: str) -> None:
    """Prints a row of the table for each model."""
    data = open_data(Lake(Path(lake)))
    task = task_for(data.vocabulary, data.shards, REGRESSION)
    assert isinstance(task, Regression)
    selection, _ = select(data.shards, task, 0.1, Fold.parse(fold))
    print("| model | MAE | RMSE | Spearman | seconds |\n|---|---|---|---|---|", flush=True)
    for name, found, seconds in (*_ours(lake, fold, archs), *_peers(selection, task.source)):
        print(f"| {name} | {found.mae:.3f} | {found.rmse:.3f} | {found.spearman:.4f} | {seconds:.0f} |", flush=True)


def _ours(lake: str, fold: str, archs: tuple[str, ...]) -> Iterator[tuple[str, Any, float]]:
    for arch in archs:
        done = run_process("train", "--task", "regression", "--arch", arch, "--fold", fold, "--lake", lake, timeout=7200)
        assert done.code in (0, 99), done.stderr
        metrics = read_bundle(Path(done.receipt["outputs"]["model"])).metrics
        names = ("loss", "rows", "mae", "rmse", "spearman", "constant_mae")
        found = NumberEvaluation(tokens=0, spread=0.0, **{name: metrics[f"test_{name}"] for name in names})
        yield f"`--arch {arch}`", found, metrics["train_seconds"]


def _peers(selection: Selection, column: str) -> Iterator[tuple[str, NumberEvaluation, float]]:
    rows = {name: _rows(selection.part(name), column) for name in ("train", "valid", "test")}
    tfidf = TfidfTransformer(sublinear_tf=True).fit(rows["train"].ngrams)
    kinds = {
        "1 for each n-gram": (lambda found: found, BINARY_PENALTIES),
        "rows of length 1": (normalize, PENALTIES),
        "TF-IDF": (tfidf.transform, PENALTIES),
    }
    low, high = rows["train"].target_N.min(), rows["train"].target_N.max()
    for kind, (weigh, penalties) in kinds.items():
        features = {name: weigh(found.ngrams) for name, found in rows.items()}
        best: tuple[float, NumberEvaluation, float, float] | None = None
        for penalty in penalties:
            started = time.perf_counter()
            model = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-3).fit(features["train"], rows["train"].target_N)
            seconds = time.perf_counter() - started
            judged = {
                name: measured(
                    rows[name].target_N, np.clip(model.predict(features[name]), low, high).astype(float), loss=0.0, tokens=0
                )
                for name in ("valid", "test")
            }
            if best is None or judged["valid"].mae < best[0]:
                best = judged["valid"].mae, judged["test"], penalty, seconds
        assert best is not None
        yield f"scikit-learn `Ridge({best[2]:g})`, {kind}", best[1], best[3]


def _rows(part: Part, column: str) -> Rows:
    buckets, ends, targets = [], [np.zeros(1, np.int64)], []
    for table in read_part(part, ["ids", column]):
        ids = table["ids"].combine_chunks()
        lengths = ids.value_lengths().to_numpy().astype(np.int64)
        found = ngram_buckets(
            ids.flatten().to_numpy(), np.cumsum(lengths) - lengths, np.minimum(lengths, LONGEST), ngrams=NGRAMS, bits=BITS
        )
        buckets.append(found.values)
        ends.append(ends[-1][-1] + found.bounds[1:])
        targets.append(table[column].to_numpy().astype(np.float64))
    values, bounds = np.concatenate(buckets), np.concatenate(ends)
    ones = np.ones(len(values), np.float32)
    ngrams = scipy.sparse.csr_matrix((ones, values, bounds), shape=(len(bounds) - 1, 1 << BITS))
    return Rows(ngrams, np.concatenate(targets))


if __name__ == "__main__":
    main(*sys.argv[1:])
