"""Cross-validation: a training for each fold, and the predictions of the reviews that it did not see."""

import hashlib
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import pretrain, train
from jobs.runtime import recorded_run
from pipeline.config.crossval import CrossvalConfig
from pipeline.errors import PipelineError
from pipeline.order.folds import Fold
from schemas.run import Receipt

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle
    from pipeline.models.pretrained import Pretrained

log = logging.getLogger(__name__)

PREDICTIONS, SUMMARY = "predictions.parquet", "crossval.json"


@dataclass(frozen=True)
class _Fold:
    """A fold that is trained and scored. `new`: something was left to do."""

    figures: dict[str, Any]
    path: Path
    new: bool


def run(config: CrossvalConfig) -> Receipt:
    """Trains and tests every fold, or finds that all of it is done (exit code 99).

    Raises:
        DataError: a fold without labelled reviews, or what a training raises.
        StoppedError: a signal; the folds that are done stay, and the one at work left a checkpoint.
    """
    with recorded_run("crossval", config.lake, config) as run:
        config.lake.fetch(config.lake.crossval().folder)
        recipe = _recipe(config)
        folds = [_fold(config, index, recipe) for index in range(config.folds)]
        folder = folds[0].path.parent
        summary = _summary([fold.figures for fold in folds])
        _publish(folder, [fold.path for fold in folds], summary)
        run.read = sum(fold.figures["rows"] for fold in folds)
        run.nothing_new = not any(fold.new for fold in folds)
        run.outputs = {"predictions": folder / PREDICTIONS, "summary": folder / SUMMARY}
        run.metrics = summary
    return run.receipt()


def _recipe(config: CrossvalConfig) -> "Pretrained | None":
    """The pretrained model that `--init` names: each fold gets its own, with the same options.

    Raises:
        InputNotFoundError: there is no such pretrained model.
        UsageError: a model, which may know the folds.
    """
    if config.init is None:
        return None
    from jobs.initial import find_start
    from pipeline.models.pretrained import find_pretrained

    found = find_pretrained(config.lake, config.init)
    return found or find_start(config.training(0, config.init)).pretrained


def _pretrain(config: CrossvalConfig, index: int, recipe: "Pretrained") -> str:
    """Pretrains without a fold, unless that is done; returns the ID."""
    pretraining = config.pretraining(index, recipe.training)
    if pretrain.pretrained_for(pretraining) is None:
        log.info("fold %s: pretraining like %s, without the fold", Fold(index, config.folds), recipe.pretrained_id)
        pretrain.start(pretraining, lambda receipt: None)
    found = pretrain.pretrained_for(pretraining)
    if found is None:
        raise PipelineError(f"pretraining without fold {pretraining.fold} finished, but left nothing. Please report this.")
    return found.pretrained_id


def _fold(config: CrossvalConfig, index: int, recipe: "Pretrained | None" = None) -> _Fold:
    """Trains without a fold, unless that is done, and scores it, unless that is done."""
    training = config.training(index, None if recipe is None else _pretrain(config, index, recipe))
    started = time.perf_counter()
    before = None if config.force else train.finished_model(training)
    if before is None:
        train.start(training, lambda receipt: None)
    bundle = before or train.finished_model(training)
    if bundle is None:
        raise PipelineError(f"training without fold {training.fold} finished, but wrote no model. Please report this.")
    path = _folder(config, bundle, recipe) / f"fold-{index}-{bundle.model_id}.parquet"
    scored = path.is_file()
    if not scored:
        from pipeline.scoring.out_of_fold import write_fold

        write_fold(training, bundle, path)
    figures = {"fold": index, "model_id": bundle.model_id, **_figures(path, bundle)}
    figures["seconds"] = round(time.perf_counter() - started, 1) if before is None else None
    figures["train_seconds"] = bundle.metrics.get("train_seconds")
    if (baseline := bundle.metrics.get("baseline")) is not None:
        for name in ("accuracy", "mae"):
            if f"test_{name}" in baseline:
                figures[f"baseline_{name}"] = baseline[f"test_{name}"]
    log.info("fold %s: %s", training.fold, _in_words(figures))
    return _Fold(figures, path, before is None or not scored)


def _folder(config: CrossvalConfig, bundle: "Bundle", recipe: "Pretrained | None") -> Path:
    """One folder for all folds of a training: named by what is trained, without the fold."""
    identity = {**bundle.training, "fold": None, "folds": config.folds}
    if recipe is not None:
        identity["init"] = recipe.training
    if config.teacher is not None and "teacher" in identity:  # another model for each fold
        identity["teacher"] = Path(config.teacher).name
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return config.lake.crossval().folder / f"{config.arch}-{digest}"


def _in_words(figures: dict[str, Any]) -> str:
    if "mae" in figures:
        return f"MAE {figures['mae']:.4f}, Spearman {figures['spearman']:.4f}"
    return f"accuracy {100 * figures['accuracy']:.2f} %, macro-F1 {figures['macro_f1']:.4f}"


def _figures(path: Path, bundle: "Bundle") -> dict[str, Any]:
    from pipeline.reports.metrics import Measures
    from pipeline.reports.numbers import NumberMeasures
    from pipeline.scoring.out_of_fold import read_numbers, read_probabilities

    if bundle.task:
        target_N, predicted_N = read_numbers(path)
        points = NumberMeasures(target_N=target_N, predicted_N=predicted_N).points
        return {"rows": points.rows, "mae": points.mae, "rmse": points.rmse, "spearman": points.spearman}
    labels = bundle.labels
    labels_N, probability_NC = read_probabilities(path, labels)
    found = Measures(names=labels, labels_N=labels_N, probability_NC=probability_NC)
    figures = {"accuracy": found.accuracy.value, "macro_f1": found.macro_f1.value, "loss": found.log_loss, "ece": found.ece}
    return {"rows": found.rows, **figures}


def _summary(folds: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the folds, each fold counting the same."""
    import statistics

    beside = ("fold", "model_id", "rows", "seconds", "train_seconds")
    names = [name for name in folds[0] if name not in beside and all(fold.get(name) is not None for fold in folds)]
    return {
        "folds": folds,
        "mean": {name: statistics.fmean(fold[name] for fold in folds) for name in names},
        "spread": {name: statistics.stdev(fold[name] for fold in folds) for name in names},
    }


def _publish(folder: Path, paths: list[Path], summary: dict[str, Any]) -> None:
    """Writes the predictions of all folds side by side, and the figures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipeline.lake.atomic import atomic_path, write_text

    tables = [pq.read_table(path) for path in paths]
    with atomic_path(folder / PREDICTIONS) as temporary:
        pq.write_table(pa.concat_tables(tables), temporary, compression="zstd")
    write_text(folder / SUMMARY, json.dumps(summary, indent=2, sort_keys=True) + "\n")
