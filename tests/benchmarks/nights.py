"""Simulated nights: a lake of old reviews, new ones of a shifting topic each night, and what the choices cost and bring.

    python tests/benchmarks/nights.py --folder FOLDER                    ten nights, 20,000 old reviews, 1,000 new each
    python tests/benchmarks/nights.py --folder FOLDER --old 2000 --new 100 --nights 3
    python tests/benchmarks/nights.py --folder FOLDER --series frozen-warm rebuilt-full

A series is a lake in which each night is ingested and learned, each step a `pipeline` command in a process of its own:

    frozen-…, rebuilt-…   the vocabulary of the first ingest, or a new one each night (ingest --rebuild-vocab)
    …-full, …-short       training from random weights: --epochs, or as few as warm has
    …-warm                training from the live model (--init-from LIVE): --warm-epochs

`short` costs what `warm` costs, so the two are compared at equal cost. Night 0 is the old reviews, with --epochs in every
series. Of each night: accuracy on the fixed holdout, and on those of its reviews whose films lie where the nights' films do
on the topic; the share of unknown tokens in the night's reviews and in the holdout; seconds of the two commands.

The archive has 25,000 labelled reviews; where they are too few for the nights, the rest of each night is unlabelled.
A run that was stopped goes on where it was: FOLDER/nights.jsonl has a line for each night. What it had done of a night
costs nothing the second time, so those seconds are missing.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.text.tokenizers import tokenize
from schemas.vocabulary import UNK_ID
from tests.benchmarks.harness import ROOT, machine
from tests.benchmarks.nights_reviews import Review, Supply, archived, generated, supply, write_reviews
from tests.benchmarks.reviews import archive

SERIES = tuple(f"{vocabulary}-{training}" for vocabulary in ("frozen", "rebuilt") for training in ("full", "short", "warm"))
NOTES, RESULT = "nights.jsonl", "nights.json"
COLUMNS = ("--id-column", "id", "--label-column", "label", "--group-column", "group", "--split-column", "split")
MODEL = "--arch bag --ngrams 1 --embedding-dim 32 --lr 0.03 --average 0 --no-baseline"
FIGURES = (
    ("accuracy", "accuracy", 100),
    ("accuracy_new", "on the nights' films", 100),
    ("unknown_new", "unknown, new", 100),
    ("unknown_holdout", "unknown, holdout", 100),
    ("ingest_seconds", "ingest, s", 1),
    ("train_seconds", "train, s", 1),
)


@dataclass(frozen=True)
class Place:
    """Where a series happens."""

    folder: Path
    series: str
    options: argparse.Namespace

    @property
    def lake(self) -> Path:
        return self.folder / self.series

    @property
    def vocabulary(self) -> str:
        return self.series.split("-")[0]

    @property
    def training(self) -> str:
        return self.series.split("-")[1]

    def epochs(self, night: int) -> int:
        return self.options.epochs if night == 0 or self.training == "full" else self.options.warm_epochs


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    options = _options(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    found, source = _supply(options)
    holdout = write_reviews(options.folder / "holdout.parquet", found.holdout)
    asked = {name: getattr(options, name) for name in ("old", "new", "nights", "holdout", "epochs", "warm_epochs", "model")}
    _check_same(options.folder / "options.json", asked)
    for series in options.series:
        place = Place(options.folder, series, options)
        for night, reviews in enumerate([found.old, *found.nights]):
            if (series, night) in {(note["series"], note["night"]) for note in _notes(options.folder)}:
                continue
            note = {"series": series, "night": night, **_night(place, night, reviews, holdout, found)}
            with (options.folder / NOTES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(note) + "\n")
            print(json.dumps(note), file=sys.stderr, flush=True)
    result = {
        "machine": machine(),
        "source": source,
        "options": asked,
        "labelled_a_night": found.labelled,
        "holdout_rows": len(found.holdout),
        "nights": [note for note in _notes(options.folder) if note["series"] in options.series],
    }
    (options.folder / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(_tables(result))
    return result


def _supply(options: argparse.Namespace) -> tuple[Supply, str]:
    path = archive()
    amounts = {"old": options.old, "new": options.new, "nights": options.nights, "holdout": options.holdout}
    if options.generated or path is None:
        films = int((options.old + options.new * options.nights) / (1 - options.holdout) / 10 * 1.2) + 20
        return supply(generated(films), **amounts), "generated text"
    try:
        return supply(archived(path, unlabelled=False), **amounts), "the IMDb archive"
    except ValueError:
        return supply(archived(path, unlabelled=True), **amounts), "the IMDb archive, with unlabelled reviews"


def _night(place: Place, night: int, reviews: list[Review], holdout: Path, found: Supply) -> dict[str, Any]:
    """One night: the delivery, the two commands, and what the night's model is worth."""
    delivery = write_reviews(place.lake / "raw" / f"night-{night:03d}.parquet", reviews)
    rebuild = ["--rebuild-vocab"] if place.vocabulary == "rebuilt" and night else []
    ingest = _pipeline(place.lake, "ingest", *COLUMNS, *rebuild)
    warm = ["--init-from", "LIVE"] if place.training == "warm" else []
    options = [*shlex.split(place.options.model), "--epochs", str(place.epochs(night)), *warm]
    train = _pipeline(place.lake, "train", *options)
    scored = place.folder / f"scored-{place.series}.parquet"
    scored.unlink(missing_ok=True)
    _pipeline(place.lake, "score", str(holdout), "--model", train["outputs"]["model_id"], "--output", str(scored))
    table = pq.read_table(scored, columns=["label", "prediction", "group"])
    right = pc.equal(table["label"], table["prediction"]).to_pylist()
    places = {review.film: review.place for review in found.holdout}
    first = min(review.place for later in found.nights for review in later)
    new = [is_right for is_right, film in zip(right, table["group"].to_pylist(), strict=True) if places[film] >= first]
    return {
        "rows": len(reviews),
        "accuracy": sum(right) / len(right),
        "accuracy_new": sum(new) / max(1, len(new)),
        "unknown_new": _unknown_of(place.lake, delivery.name),
        "unknown_holdout": _unknown_of_text(place.lake, found.holdout),
        "vocabulary": train["outputs"]["vocabulary"],
        "ingest_seconds": ingest["wall_seconds"] if ingest["written"] else None,
        "train_seconds": train["wall_seconds"] if train["read"] else None,
        "loop_seconds": train["metrics"]["train_seconds"],
        "epochs": place.epochs(night),
        "model_id": train["outputs"]["model_id"],
        "init_from": train["metrics"].get("init_from"),
        "promotion": (train["metrics"].get("promotion") or {}).get("decision"),
    }


def _pipeline(lake: Path, *words: str) -> dict[str, Any]:
    """Runs a command; gives its receipt, with the seconds of the whole process."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "--quiet", "--lake", str(lake), *words, "--json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 99):
        sys.exit(f"pipeline {shlex.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "wall_seconds": round(seconds, 2)}


def _unknown_of(lake: Path, delivery: str) -> float:
    """The share of unknown tokens in the reviews of a delivery, as the table holds them."""
    unknown = total = 0
    for shard in TokenTable.open(lake / "tokens").shards:
        table = pq.read_table(shard.path, columns=["source", "ids"])
        ids = table.filter(pc.match_substring(table["source"], delivery))["ids"].combine_chunks().flatten()
        unknown += pc.sum(pc.equal(ids, UNK_ID)).as_py() or 0
        total += len(ids)
    return unknown / max(1, total)


def _unknown_of_text(lake: Path, reviews: list[Review]) -> float:
    """The share of unknown tokens in reviews that the lake does not have."""
    table = TokenTable.open(lake / "tokens")
    vocabulary = read_vocabulary(lake / "vocabulary" / f"{table.vocabulary}.parquet")
    tokens = tokenize(vocabulary.tokenizer, pa.array([review.text for review in reviews]))
    ids = vocabulary.encode(tokens).flatten()
    return (pc.sum(pc.equal(ids, UNK_ID)).as_py() or 0) / max(1, len(ids))


def _tables(result: dict[str, Any]) -> str:
    """For each figure, the nights of each series; then how the cost of ingest grows."""
    names = list(dict.fromkeys(note["series"] for note in result["nights"]))
    lines = [
        result["machine"],
        f"{result['source']}; {result['labelled_a_night']:,} labelled reviews a night; holdout of "
        f"{result['holdout_rows']:,} reviews; {result['options']}",
    ]
    for figure, title, factor in FIGURES:
        lines += ["", f"| night: {title} | {' | '.join(names)} |", f"|---:|{'---:|' * len(names)}"]
        for night in sorted({note["night"] for note in result["nights"]}):
            values = [_value(result, name, night, figure, factor) for name in names]
            lines.append(f"| {night} | {' | '.join(values)} |")
    lines.append("")
    for name in names:
        seconds = [note["ingest_seconds"] for note in result["nights"] if note["series"] == name]
        if len(seconds) > 2 and seconds[2] and seconds[-1]:
            lines.append(f"{name}: the last night's ingest takes {seconds[-1] / seconds[2]:.2f} times the second's")
    return "\n".join(lines)


def _value(result: dict[str, Any], name: str, night: int, figure: str, factor: int) -> str:
    found = (note for note in result["nights"] if (note["series"], note["night"]) == (name, night))
    note = next(found, None)
    return "" if note is None or note[figure] is None else f"{factor * note[figure]:.2f}"


def _check_same(path: Path, asked: dict[str, Any]) -> None:
    """Notes of other options would be mixed with these."""
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != asked:
        sys.exit(f"{path.parent} has the nights of other options ({path}). Choose another --folder, or delete this one.")
    path.write_text(json.dumps(asked), encoding="utf-8")


def _notes(folder: Path) -> list[dict[str, Any]]:
    path = folder / NOTES
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for the lakes and the results")
    parser.add_argument("--old", type=int, default=20_000, help="reviews before the first night")
    parser.add_argument("--new", type=int, default=1_000, help="reviews a night")
    parser.add_argument("--nights", type=int, default=10)
    parser.add_argument("--holdout", type=float, default=0.1, help="share of the films")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--warm-epochs", type=int, default=1)
    parser.add_argument("--model", default=MODEL, help="options of train")
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--generated", action="store_true", help="generated text, although the archive is at hand")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
