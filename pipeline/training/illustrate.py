"""What a new bundle's report shows beside the curves: review lengths, and validation reviews that the model has scored."""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.lake.shards import Shard, open_shard
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.text.vocabulary import Vocabulary
from pipeline.training.selection import Part
from schemas.report import EXAMPLE

log = logging.getLogger(__name__)

SAMPLE_ROWS = 512
"""So many validation reviews are scored to choose the examples from."""
SHOWN_PER_KIND = 4
SHOWN_TOKENS = 120


def illustrate(folder: Path, model_id: str, shards: tuple[Shard, ...], vocabulary: Vocabulary, valid: Part) -> None:
    """Writes lengths.parquet, examples.parquet and report.html into a bundle's folder.

    A machine that only trains may lack matplotlib and jinja2; the bundle is then whole without a report.
    """
    try:
        from pipeline.reports.files import LengthCounter, write_examples, write_lengths
        from pipeline.reports.write import write_report
    except ModuleNotFoundError as missing:
        log.warning("no report: %s is not installed; 'pipeline report' makes one later", missing.name)
        return
    lengths = LengthCounter()
    for shard in shards:
        with open_shard(shard.path) as file:
            for batch in file.iter_batches(columns=["ids"]):
                lengths.add(shard.split, batch["ids"])
    write_lengths(folder, lengths.table())
    write_examples(folder, _examples(read_bundle(folder), vocabulary, valid))
    write_report(folder, model_id=model_id)


def _examples(bundle: Bundle, vocabulary: Vocabulary, valid: Part) -> pa.Table:
    """The reviews that the model is most certain of, those where it is most wrong, and those where it cannot decide."""
    from pipeline.scoring.predictor import Predictor

    sample = _sample(valid)
    labels = sample["label"].to_numpy()
    with Predictor(bundle) as predictor:
        probability_NC = predictor.predict(sample["ids"].combine_chunks())
    predicted = probability_NC.argmax(axis=1)
    certainty = probability_NC.max(axis=1)
    wrong = predicted != labels
    chosen: list[int] = []
    kinds = [(~wrong & (predicted == label), -certainty) for label in range(len(bundle.labels))]
    for mask, key in [*kinds, (wrong, -certainty), (np.ones_like(wrong), certainty)]:
        rows = np.setdiff1d(np.flatnonzero(mask), chosen)
        chosen += rows[np.argsort(key[rows], kind="stable")][:SHOWN_PER_KIND].tolist()
    shown = probability_NC[:, 1] if len(bundle.labels) == 2 else certainty
    examples = [
        {
            "text": _text(sample["ids"][row].as_py(), vocabulary),
            "label": bundle.labels[labels[row]],
            "prediction": bundle.labels[predicted[row]],
            "probability": float(shown[row]),
        }
        for row in chosen
    ]
    return pa.Table.from_pylist(examples, schema=EXAMPLE.schema)


def _sample(valid: Part) -> pa.Table:
    """At most `SAMPLE_ROWS` rows, spread over the row groups."""
    filled = [(group, rows) for group, rows in zip(valid.groups, valid.selected, strict=True) if len(rows)]
    share = -(-SAMPLE_ROWS // max(len(filled), 1))
    tables = []
    for group, rows in filled[:SAMPLE_ROWS]:
        with open_shard(group.path) as file:
            tables.append(file.read_row_group(group.index, columns=["ids", "label"]).take(rows[:share]))
    return pa.concat_tables(tables).slice(0, SAMPLE_ROWS)


def _text(ids: list[int], vocabulary: Vocabulary) -> str:
    words = vocabulary.tokens.take(pa.array(ids[:SHOWN_TOKENS], pa.int32())).to_pylist()
    return " ".join(words) + (" …" if len(ids) > SHOWN_TOKENS else "")
