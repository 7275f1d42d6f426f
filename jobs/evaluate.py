"""Evaluates a model on a split: loss, accuracy, confusion matrix, precision, recall and F1 of each class."""

from jobs.runtime import recorded_run
from pipeline.config.evaluate import EvaluateConfig
from pipeline.errors import DataError, InputNotFoundError
from schemas.run import Receipt


def run(config: EvaluateConfig) -> Receipt:
    """Evaluates; the split is cut exactly as it was for the model's training.

    Raises:
        InputNotFoundError: no such model or table, or no labelled review in the split.
        DataError: the data has another vocabulary than the model.
    """
    from pipeline.datapipes.train_loader import LoaderOptions
    from pipeline.engines import local
    from pipeline.models.bundle import find_bundle
    from pipeline.training.data import open_data
    from pipeline.training.evaluation import evaluate
    from pipeline.training.precision import resolve_precision
    from pipeline.training.selection import select

    with recorded_run("evaluate", config.lake, config) as run, local.joined(config.device) as world:
        bundle = find_bundle(config.lake, config.model)
        version = config.table_version
        if version is None and config.tokens is None:
            version = bundle.table_version
        data = open_data(config.lake, tokens=config.tokens, table_version=version, vocabulary=config.vocabulary)
        if data.vocabulary.fingerprint != bundle.vocabulary:
            raise DataError(
                f"the shards have the vocabulary {data.vocabulary.fingerprint}, the model {bundle.model_id} saw "
                f"{bundle.vocabulary}. Name the version it saw with --table-version, or train a new model."
            )
        selection, _ = select(data.shards, len(bundle.labels), float(bundle.training.get("valid_fraction", 0.1)))
        part = selection.part(config.split)
        if not part.rows:
            raise InputNotFoundError(f"no labelled review is in the split {config.split!r}. Choose another with --split.")
        found = evaluate(
            bundle.load_model(world.device),
            part,
            world,
            num_classes=len(bundle.labels),
            max_length=bundle.max_length,
            batch_size=config.batch_size,
            loader=LoaderOptions(workers=config.workers, pin_memory=world.device.type == "cuda"),
            precision=resolve_precision(config.precision, world.device),
            description=f"evaluate {config.split}",
            vocab_size=len(data.vocabulary),
        )
        run.read = found.rows
        run.outputs = {"model": bundle.folder, "model_id": bundle.model_id, "table_version": data.table_version}
        run.metrics = {
            "split": config.split,
            "loss": found.loss,
            "accuracy": found.accuracy,
            "labels": list(bundle.labels),
            "confusion": found.confusion.tolist(),
            "classes": found.per_class(bundle.labels),
        }
    return run.receipt()
