"""Accuracy on folds by film: the tables of docs/benchmarks.md.

    python tests/benchmarks/folds.py --lake FOLDER                     five folds of each setting, and their table
    python tests/benchmarks/folds.py --lake FOLDER nbsvm default       of these settings
    python tests/benchmarks/folds.py --lake FOLDER --ablation          one fold for each change of the recipe
    python tests/benchmarks/folds.py --lake FOLDER --table             of what was trained so far; trains nothing

The lake holds the ingested archive (`pipeline --lake FOLDER ingest ARCHIVE`). Settings stand in `fold_settings.py`. Each is
a `pipeline` command in a process of its own, so a benchmark that was stopped goes on where it was: what is trained is
found by its identity. Settings were chosen on fold 0, so the table also gives the mean of the other four. The paired test
compares a setting's out-of-fold predictions with those of nbsvm, review by review (McNemar 1947).
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.reports.metrics import mcnemar
from tests.benchmarks.fold_settings import ABLATION, CROSSVAL, RECIPE
from tests.benchmarks.harness import Contestant, machine, measure

NOTES = "folds.jsonl"
REFERENCE = "nbsvm"
NOTHING_NEW = 99


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    known = ABLATION if options.ablation else CROSSVAL
    names = options.setting or list(known)
    notes = options.lake / NOTES
    kind = "ablation" if options.ablation else "crossval"
    for name in [] if options.table else names:
        done = {(note["kind"], note["setting"]) for note in _read(notes)}
        if (kind, name) in done:
            continue
        note = {"kind": kind, "setting": name, **_run(options, kind, name)}
        with notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\n")
        print(json.dumps(note)[:300], file=sys.stderr, flush=True)
    found = {note["setting"]: note for note in _read(notes) if note["kind"] == kind}
    print(f"{machine()}\n")
    print(_ablation_table(found) if options.ablation else _crossval_table(found))


def _run(options: argparse.Namespace, kind: str, name: str) -> dict[str, Any]:
    """Runs a setting; gives its receipt and what it cost. The minutes of folds that were trained before are not in it."""
    base = [sys.executable, "-m", "pipeline", "-q", "--lake", str(options.lake)]
    if kind == "ablation":
        command = [*base, "train", *RECIPE, *ABLATION[name], "--fold", "0/5", "--resume"]
    else:
        command = [*base, "crossval", *CROSSVAL[name]]
    threads = {"OMP_NUM_THREADS": str(options.threads)}
    run = measure(Contestant(name=name, command=command, environment=threads, expected=(0, NOTHING_NEW)))
    receipt = json.loads(run.stdout.strip().splitlines()[-1])
    return {
        "metrics": receipt["metrics"],
        "outputs": receipt["outputs"],
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(run.cpu_seconds, 1),
    }


def _crossval_table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown, in the order of the settings."""
    lines = [
        "| setting | accuracy, 5 folds | spread | folds 1–4 | macro-F1 | calibration error | minutes a fold | right where "
        "nbsvm is wrong, wrong where it is right | p |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    reference = _right(found[REFERENCE]) if REFERENCE in found else None
    for name in CROSSVAL:
        if name not in found:
            continue
        metrics = found[name]["metrics"]
        folds = [fold["accuracy"] for fold in metrics["folds"]]
        seconds = [fold["train_seconds"] for fold in metrics["folds"]]
        mean, spread = metrics["mean"], metrics["spread"]
        lines.append(
            f"| {name} | {100 * mean['accuracy']:.2f} | {100 * spread['accuracy']:.2f} | "
            f"{100 * statistics.fmean(folds[1:]):.2f} | {mean['macro_f1']:.4f} | {100 * mean['ece']:.2f} % | "
            f"{statistics.fmean(seconds) / 60:.1f} | {_paired(_right(found[name]), reference, name)} |"
        )
    return "\n".join(lines)


def _right(note: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Whether each review was predicted rightly, in the order of their ids."""
    table = pq.read_table(note["outputs"]["predictions"], columns=["review_id", "label", "prediction"])
    table = table.sort_by("review_id")
    return np.array(table["label"].to_pylist()) == np.array(table["prediction"].to_pylist())


def _paired(right: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_] | None, name: str) -> str:
    if reference is None or name == REFERENCE:
        return "| "
    found = mcnemar(right, reference)
    return f"{found.only_first}, {found.only_second} | {found.p_value:.2g}"


def _ablation_table(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| change | validation | fold 0 | best epoch | CPU seconds |", "|---|---:|---:|---:|---:|"]
    for name in ABLATION:
        if name in found:
            note = found[name]
            metrics = note["metrics"]
            lines.append(
                f"| {name} | {100 * metrics['valid_accuracy']:.2f} | {100 * metrics['test_accuracy']:.2f} | "
                f"{metrics['best_epoch']} | {note['cpu_seconds']:.0f} |"
            )
    return "\n".join(lines)


def _read(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="*", help="settings of fold_settings.py; all of them when none is named")
    parser.add_argument("--lake", type=Path, required=True)
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    unknown = set(options.setting) - set(ABLATION if options.ablation else CROSSVAL)
    if unknown:
        parser.error(f"unknown settings: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
