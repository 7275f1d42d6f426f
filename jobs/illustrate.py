"""What a bundle's report shows beside the curves: the held-out reviews as the model scores them, the tokens that weigh,
examples, review lengths."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.datapipes.part_rows import check_ids, read_part, rows_of, spread_over
from pipeline.lake.shards import Shard, open_shard
from pipeline.models.bundle import Bundle, read_bundle
from pipeline.order.selection import Part
from pipeline.progress import track
from pipeline.reports.files import (
    EVALUATIONS,
    EXAMPLES,
    LENGTHS,
    TOKEN_WEIGHTS,
    LengthCounter,
    write_evaluation,
    write_examples,
    write_lengths,
    write_number_examples,
    write_numbers,
    write_token_weights,
)
from pipeline.scoring.explain import explanations, token_pulls
from pipeline.scoring.predictor import Predictor
from pipeline.tasks.columns import best_labels
from pipeline.text.vocabulary import Vocabulary
from schemas.report import EVALUATION, EXAMPLE, KEY_LABEL_ROWS, NUMBER_EXAMPLE, NUMBERS, RIGHT, TOKEN_WEIGHT, UNSURE, WRONG

log = logging.getLogger(__name__)

HELD_OUT = ("valid", "test")
MOST_EVALUATED = 50_000
"""A larger part is represented by this many of its reviews, spread evenly."""
WEIGHED_ROWS = 512
"""Number of validation reviews whose tokens are weighed, also spread evenly."""
SHOWN = {WRONG: 8, RIGHT: 3, UNSURE: 4}
"""Examples of each kind; right ones for each label."""
SHOWN_TOKENS = 120

Ints = NDArray[np.int64]


def illustrate(folder: Path, shards: tuple[Shard, ...], vocabulary: Vocabulary, parts: Mapping[str, Part]) -> None:
    """Writes the files for the report that the bundle's folder lacks. `parts`: train, valid and test."""
    if not (folder / LENGTHS).exists():
        write_lengths(folder, _lengths(shards))
    if all((folder / name).exists() for name in (EVALUATIONS, TOKEN_WEIGHTS, EXAMPLES)):
        return
    bundle = read_bundle(folder)
    if bundle.task:
        _illustrate_numbers(folder, bundle, vocabulary, parts)
        return
    chosen = {split: spread_over(parts[split], MOST_EVALUATED) for split in HELD_OUT}
    with Predictor(bundle) as predictor:
        scored = pa.concat_tables([scored_part(predictor, split, part) for split, part in chosen.items()])
        rows = {split: _label_rows(part, len(bundle.labels)) for split, part in parts.items()}
        write_evaluation(folder, scored.replace_schema_metadata({KEY_LABEL_ROWS: json.dumps(rows).encode()}))
        valid = scored.filter(pc.equal(scored["split"], "valid"))
        write_token_weights(folder, _token_weights(predictor, vocabulary, spread_over(parts["valid"], WEIGHED_ROWS)))
        write_examples(folder, _examples(bundle, predictor, vocabulary, chosen["valid"], valid))


def _illustrate_numbers(folder: Path, bundle: Bundle, vocabulary: Vocabulary, parts: Mapping[str, Part]) -> None:
    """The files of a model of numbers."""
    chosen = {split: spread_over(parts[split], MOST_EVALUATED) for split in HELD_OUT}
    with Predictor(bundle) as predictor:
        scored = {split: scored_numbers(predictor, split, part) for split, part in chosen.items()}
        write_numbers(folder, pa.concat_tables(scored.values()))
        write_number_examples(folder, _number_examples(vocabulary, chosen["valid"], scored["valid"]))


def _number_examples(vocabulary: Vocabulary, part: Part, scored: pa.Table) -> pa.Table:
    """The reviews with the largest errors, the largest first."""
    target_N, predicted_N = scored["target"].to_numpy(), scored["predicted_value"].to_numpy()
    worst = np.argsort(-np.abs(predicted_N - target_N), kind="stable")[: SHOWN[WRONG]]
    order = np.sort(worst)
    texts = pa.concat_arrays([table["ids"].combine_chunks() for table in read_part(rows_of(part, order), ["ids"])])
    place = {int(number): index for index, number in enumerate(order)}
    examples = [
        {
            "text": readable(texts[place[int(number)]].as_py(), vocabulary),
            "target": float(target_N[number]),
            "predicted_value": float(predicted_N[number]),
        }
        for number in worst
    ]
    return pa.Table.from_pylist(examples, schema=NUMBER_EXAMPLE.schema)


def _lengths(shards: tuple[Shard, ...]) -> pa.Table:
    lengths = LengthCounter()
    for shard in shards:
        with open_shard(shard.path) as file:
            for batch in file.iter_batches(columns=["ids"]):
                lengths.add(shard.split, batch["ids"])
    return lengths.table()


def _label_rows(part: Part, num_labels: int) -> list[int]:
    """The number of rows of each label."""
    counts = np.zeros(num_labels, dtype=np.int64)
    for table in read_part(part, ["label"]):
        counts += np.bincount(table["label"].to_numpy(), minlength=num_labels)
    return [int(count) for count in counts]


def scored_part(predictor: Predictor, split: str, part: Part, workers: int = 2) -> pa.Table:
    """The part's rows under the contract of evaluation.parquet; `workers` threads read ahead.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    if not part.rows:
        return EVALUATION.schema.empty_table()
    tables = []
    with track(f"evaluating on {split}", part.rows) as progress:
        for table in read_part(part, ["review_id", "label", "ids"], workers):
            ids = table["ids"].combine_chunks()
            check_ids(ids, predictor.bundle.load_vocabulary())
            probability_NC = predictor.predict(ids)
            offsets = np.arange(0, probability_NC.size + 1, probability_NC.shape[1], dtype=np.int32)
            columns = [
                pa.repeat(split, len(table)),
                table["review_id"].cast(pa.string()),
                table["label"],
                pc.list_value_length(ids).cast(pa.int32()),
                pa.ListArray.from_arrays(
                    offsets, probability_NC.ravel(), type=EVALUATION.schema.field("probabilities").type
                ),
            ]
            tables.append(pa.table(columns, schema=EVALUATION.schema))
            progress.advance(len(table))
    return pa.concat_tables(tables)


def scored_numbers(predictor: Predictor, split: str, part: Part, workers: int = 2) -> pa.Table:
    """The rows of a part of numbers under the contract of evaluated_numbers.parquet.

    Raises:
        InputNotFoundError, DataError: a shard is gone or damaged.
    """
    column = predictor.task.column
    assert column is not None
    tables = [NUMBERS.schema.empty_table()]
    with track(f"evaluating on {split}", part.rows) as progress:
        for table in read_part(part, ["review_id", column, "ids"], workers):
            ids = table["ids"].combine_chunks()
            check_ids(ids, predictor.bundle.load_vocabulary())
            columns = [
                pa.repeat(split, len(table)),
                table["review_id"].cast(pa.string()),
                table[column].cast(pa.float64()),
                pc.list_value_length(ids).cast(pa.int32()),
                pa.array(predictor.predict(ids)[:, 0], pa.float64()),
            ]
            tables.append(pa.table(columns, schema=NUMBERS.schema))
            progress.advance(len(table))
    return pa.concat_tables(tables)


def _token_weights(predictor: Predictor, vocabulary: Vocabulary, part: Part) -> pa.Table:
    ids = pa.concat_arrays([table["ids"].combine_chunks() for table in read_part(part, ["ids"])])
    rows = [
        {"label": label, "token": pull.token, "weight": pull.weight, "reviews": pull.reviews}
        for label, pulls in token_pulls(predictor, vocabulary, ids).items()
        for pull in pulls
    ]
    return pa.Table.from_pylist(rows, schema=TOKEN_WEIGHT.schema)


def _examples(bundle: Bundle, predictor: Predictor, vocabulary: Vocabulary, part: Part, scored: pa.Table) -> pa.Table:
    """The surest mistakes, the surest right answers of each label, and those where the model cannot decide."""
    probability_NC = np.stack(scored["probabilities"].to_pylist()).astype(np.float32)
    chosen = _chosen(probability_NC, scored["label"].to_numpy())
    predicted_N = best_labels(probability_NC)
    numbers = np.array(sorted(chosen), dtype=np.int64)
    texts = pa.concat_arrays([table["ids"].combine_chunks() for table in read_part(rows_of(part, numbers), ["ids"])])
    weights = explanations(predictor, vocabulary, texts, probability_NC[numbers]).to_pylist()
    place = {int(number): index for index, number in enumerate(numbers)}
    examples = []
    for number, kind in chosen.items():
        predicted = int(predicted_N[number])
        examples.append(
            {
                "text": readable(texts[place[number]].as_py(), vocabulary),
                "label": bundle.labels[scored["label"][number].as_py()],
                "prediction": bundle.labels[predicted],
                "probability": float(probability_NC[number, predicted]),
                "kind": kind,
                "explanation": weights[place[number]],
            }
        )
    return pa.Table.from_pylist(examples, schema=EXAMPLE.schema)


def _chosen(probability_NC: NDArray[np.float32], labels_N: Ints) -> dict[int, str]:
    """Row numbers of the examples and why each is shown, in the order in which the page shows them."""
    predicted_N, certainty_N = best_labels(probability_NC), probability_NC.max(axis=1)
    wrong_N = predicted_N != labels_N
    kinds = [
        (WRONG, wrong_N, -certainty_N),
        *((RIGHT, ~wrong_N & (predicted_N == label), -certainty_N) for label in range(probability_NC.shape[1])),
        (UNSURE, np.ones_like(wrong_N), certainty_N),
    ]
    chosen: dict[int, str] = {}
    for kind, mask, key in kinds:
        rows = np.setdiff1d(np.flatnonzero(mask), list(chosen))
        for row in rows[np.argsort(key[rows], kind="stable")][: SHOWN[kind]]:
            chosen[int(row)] = kind
    return chosen


def readable(ids: list[int], vocabulary: Vocabulary) -> str:
    """The first tokens as a text, with the blanks around punctuation that people write."""
    words = vocabulary.tokens.take(pa.array(ids[:SHOWN_TOKENS], pa.int32())).to_pylist()
    joined = re.sub(r" ([.,!?)]+)(?= |$)", r"\1", " ".join(words))
    joined = re.sub(r"(?<=\w) ' (?=(?:s|t|d|m|ll|re|ve)\b)", "'", joined).replace("( ", "(")
    return joined + (" …" if len(ids) > SHOWN_TOKENS else "")
