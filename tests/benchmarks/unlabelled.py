"""What unlabelled reviews are worth: accuracy on a fold of the IMDb archive, with many labels and with few.

    python -m tests.benchmarks.unlabelled FOLDER                       each setting, seeds 0 to 2, all labels
    python -m tests.benchmarks.unlabelled FOLDER labels teacher        of these settings
    python -m tests.benchmarks.unlabelled FOLDER --labels 500 2000     from so many labels; the other reviews lose theirs
    python -m tests.benchmarks.unlabelled FOLDER --table               of what was trained so far; trains nothing

Each run is a `pipeline` command in a process of its own and leaves a line in FOLDER/unlabelled.jsonl, so a benchmark that
was stopped goes on where it was. Fold 0 keeps its labels and is tested on. Which of the other reviews keep theirs is chosen
by the hash of their ids. Pretraining reads what the fold allows, once for all seeds, and its time counts for each of them.
"""

import argparse
import hashlib
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.order.folds import folds_of
from tests.benchmarks.harness import Contestant, machine, measure
from tests.benchmarks.nights_reviews import Review, archived, write_reviews
from tests.benchmarks.reviews import ARCHIVE_VARIABLE, archive

FOLD, FOLDS = 0, 5
WITHOUT_FOLD = ("--fold", f"{FOLD}/{FOLDS}", "--force")
PLAIN = ("--unlabelled", "none", "--region-dim", "0")
SETTINGS: dict[str, tuple[str, ...]] = {
    "nbsvm": ("--arch", "nbsvm"),
    "labels": (*PLAIN, "--embedding-init", "random"),
    "vectors": PLAIN,
    "teacher": ("--region-dim", "0", "--embedding-init", "random"),
    "both": ("--region-dim", "0"),
    "lm": (*PLAIN, "--init", "LATEST"),
    "default": (),
}
"""Options of `pipeline train`: the labels alone; with word vectors of all reviews; with reviews that the n-grams label; with
both; from a language model of all reviews; and the default, which adds region features to both."""
PRETRAINED = {"lm": ("--objective", "lm")}
ALL = 0
NOTES = "unlabelled.jsonl"
Note = dict[str, Any]


def main(arguments: Sequence[str] | None = None, reviews: Sequence[Review] = ()) -> list[Note]:
    """Trains what is missing and prints the table; gives the notes of all runs.

    Args:
        reviews: in place of those of the archive.
    """
    options = _options(arguments)
    bench = Bench(options.folder, options.threads, reviews)
    for count in () if options.table else options.labels:
        for name in options.setting or SETTINGS:
            for seed in options.seed:
                key = {"labels": count, "setting": name, "seed": seed}
                if any(key.items() <= note.items() for note in bench.notes):
                    continue
                bench.keep({**key, **bench.train(count, name, seed)})
    print(f"{machine()}\n\n{_table(bench.notes)}")
    return bench.notes


@dataclass(frozen=True)
class Bench:
    """A folder with lakes and notes; see `main` for `reviews`.

    Args:
        threads: of each process.
    """

    folder: Path
    threads: int
    reviews: Sequence[Review] = ()

    @property
    def notes(self) -> list[Note]:
        """What was trained so far."""
        path = self.folder / NOTES
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def keep(self, note: Note) -> None:
        """Adds a note."""
        line = json.dumps(note)
        with (self.folder / NOTES).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        print(line, file=sys.stderr, flush=True)

    def train(self, count: int, name: str, seed: int) -> Note:
        """Trains; gives what the fold says of it, and the minutes of all that it took."""
        lake = self._lake(count)
        minutes = self._pretrained(lake, name) if name in PRETRAINED else 0.0
        receipt = self._pipeline(lake, "train", *WITHOUT_FOLD, "--seed", seed, *SETTINGS[name])
        metrics = receipt["metrics"]
        return {
            "accuracy": metrics["test_accuracy"],
            "alone": metrics.get("test_deep_accuracy"),
            "loss": metrics["test_loss"],
            "minutes": round(minutes + receipt["seconds"] / 60, 2),
        }

    def _lake(self, count: int) -> Path:
        lake = self.folder / (f"labels-{count}" if count else "all")
        if not (lake / "tokens").exists():
            if count or self.reviews:
                chosen = with_few_labels(self.reviews or archived(_archive(), unlabelled=True), count)
                delivery = write_reviews(self.folder / f"{lake.name}.parquet", chosen)
                self._pipeline(lake, "ingest", delivery, "--id-column", "id", "--group-column", "group")
            else:
                self._pipeline(lake, "ingest", _archive())
        return lake

    def _pretrained(self, lake: Path, name: str) -> float:
        """The minutes of a lake's pretraining, which is done once."""
        noted = lake / f"{name}.minutes"
        if not noted.exists():
            receipt = self._pipeline(lake, "pretrain", *WITHOUT_FOLD, *PRETRAINED[name])
            noted.write_text(str(receipt["seconds"] / 60))
        return float(noted.read_text())

    def _pipeline(self, lake: Path, *arguments: object) -> Note:
        """The receipt of a command."""
        command = [sys.executable, "-m", "pipeline", "-q", "--lake", str(lake), *map(str, arguments)]
        run = measure(Contestant(name="pipeline", command=command, environment={"OMP_NUM_THREADS": str(self.threads)}))
        receipt: Note = json.loads(run.stdout.strip().splitlines()[-1])
        return receipt


def with_few_labels(reviews: Sequence[Review], count: int) -> list[Review]:
    """The reviews, of which `count` outside of the fold keep their labels, or all of them (`ALL`).

    Raises:
        ValueError: there are fewer.
    """
    folds = folds_of([review.id for review in reviews], [review.film for review in reviews], FOLDS)
    held = {review.id for review, fold in zip(reviews, folds, strict=True) if fold == FOLD}
    others = sorted((review.id for review in reviews if review.label is not None and review.id not in held), key=_hash)
    if len(others) < count:
        raise ValueError(f"{count:,} labels: only {len(others):,} reviews outside of the fold have one")
    kept = held.union(others[:count] if count else others)
    return [review if review.id in kept else replace(review, label=None) for review in reviews]


def _table(notes: Sequence[Note]) -> str:
    """Markdown: a row for each number of labels and setting."""
    lines = ["| labels | setting | accuracy | mean | network alone | mean | minutes |", "|---:|---|---|---:|---|---:|---:|"]
    for count in sorted({note["labels"] for note in notes}, key=lambda count: count or sys.maxsize):
        for name in SETTINGS:
            found = sorted(
                (note for note in notes if (note["labels"], note["setting"]) == (count, name)), key=lambda note: note["seed"]
            )
            if found:
                minutes = statistics.fmean(note["minutes"] for note in found)
                figures = " | ".join(_figures([note[figure] for note in found]) for figure in ("accuracy", "alone"))
                lines.append(f"| {f'{count:,}' if count else 'all'} | {name} | {figures} | {minutes:.1f} |")
    return "\n".join(lines)


def _figures(values: Sequence[float | None]) -> str:
    """Each seed's, and their mean, in percent."""
    shares = [100 * value for value in values if value is not None]
    return f"{', '.join(f'{share:.2f}' for share in shares)} | {statistics.fmean(shares):.2f}" if shares else " | "


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("setting", nargs="*", help=f"of {', '.join(SETTINGS)}; all of them when none is named")
    parser.add_argument("--labels", type=int, nargs="+", default=[ALL], help="numbers of labels; 0, the default, for all")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    if unknown := set(options.setting) - set(SETTINGS):
        parser.error(f"unknown settings: {', '.join(sorted(unknown))}")
    options.folder.mkdir(parents=True, exist_ok=True)
    return options


def _archive() -> Path:
    path = archive()
    if path is None:
        sys.exit(f"no archive of IMDb: set {ARCHIVE_VARIABLE} to its path")
    return path


if __name__ == "__main__":
    main()
