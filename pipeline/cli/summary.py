"""A receipt in words, for a person at a terminal: rows read, written and skipped, where the result is, what to do next.

Everything here comes from the receipt, which is also what scripts read.
"""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipeline.cli import listing
from pipeline.errors import EXIT_DONE, EXIT_NOTHING_NEW
from pipeline.lake.decisions import BELOW_MAJORITY, FIRST, NOT_FINITE
from pipeline.printable import printable, short_path
from schemas.bad_row import CHOSEN, num_chosen

if TYPE_CHECKING:
    from schemas.run import Receipt

NARROW, WIDE = 60, 100
"""Lines are wrapped to the terminal's width within these bounds, in characters."""
NAMED = 3
"""Number of files to name; the others are counted."""


@dataclass
class Summary:
    """A sentence, facts with names in front, and the commands that may come next."""

    headline: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    next: list[str] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """Adds a fact unless there is nothing to say."""
        if text:
            self.facts.append((name, text))

    def lines(self, terminal: int | None = None) -> list[str]:
        """The summary for a terminal, of which `terminal` is the file descriptor."""
        width = 80 if terminal is None else os.get_terminal_size(terminal).columns
        width = min(max(width, NARROW), WIDE)
        facts = [(printable(name), printable(text)) for name, text in self.facts]
        margin = max((len(name) for name, _ in facts), default=0)
        found = [typer.style(line, bold=True) for line in listing.wrapped(printable(self.headline), wide=width)]
        for name, text in facts:
            first, *rest = listing.wrapped(text, wide=width - margin - 4)
            found.append(f"  {typer.style(name.ljust(margin), dim=True)}  {first}")
            found += [" " * (margin + 4) + line for line in rest]
        for place, command in enumerate(self.next):
            found.append(f"{'Next:' if place == 0 else '     '} {typer.style(printable(command), fg='cyan')}")
        return ["", *found]


def summary(receipt: "Receipt", lake: str = "") -> Summary:
    """The receipt in words. `lake` is what to add to commands to select the lake: "" or " --lake FOLDER"."""
    nothing = receipt.exit_code == EXIT_NOTHING_NEW
    return WRITERS[receipt.command](receipt, lake, nothing)


def _ingest(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics, outputs = receipt.metrics, receipt.outputs
    if not outputs.get("tokens") and not receipt.read:
        headline = "Nothing to read yet: all files changed only a moment ago."
    elif nothing:
        headline = f"Nothing new: {_count(receipt.known, 'review')} already known."
    else:
        headline = f"Ingested {_count(receipt.written, 'review')} in {_seconds(receipt)}."
    found = Summary(headline)
    known = f", {receipt.known:,} already known" if receipt.known and not nothing else ""
    replaced = f", {metrics['replaced']:,} of them changed" if metrics.get("replaced") else ""
    found.add("read", f"{_count(receipt.read, 'row')}: {receipt.written:,} written{replaced}{known}" if receipt.read else "")
    _left_out(found, receipt)
    if metrics.get("duplicates"):
        then = "skipped" if metrics.get("deduplicated") else "--dedupe skips such reviews in later runs"
        found.add("repeated", f"{metrics['duplicates']:,} have the same text and label as others; {then}")
    if metrics.get("superseded"):
        found.add(
            "superseded", f"{_count(metrics['superseded'], 'row')} by later ones with the same ID (--id-conflict last)"
        )
    held = [(metrics.get("retracted"), "retracted"), (metrics.get("erased"), "erased")]
    found.add("withheld", ", ".join(f"{count:,} {why}" for count, why in held if count))
    if metrics.get("moved"):
        found.add("moved", f"{_count(metrics['moved'], 'review')} to another row of the same file")
    if metrics.get("pruned"):
        found.add("pruned", f"{_count(metrics['pruned'], 'review')} no longer in the sources")
    found.add("labels", ", ".join(metrics.get("labels", ())) if metrics.get("labels") else "")
    if "tokens" in outputs:
        found.add("table", f"{short_path(outputs['tokens'])}, version {outputs.get('table_version', 0)}")
        if len(metrics.get("labels", ())) > 1:
            found.next = [f"pipeline train{lake}"]
        elif metrics.get("has_numbers"):
            found.next = [f"pipeline train{lake} --task regression"]
        else:
            found.add("train", "needs labelled reviews of two classes or more: ingest others as well")
    elif receipt.read:
        found.add("table", "unchanged (dry run)")
    return found


def _train(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics, outputs = receipt.metrics, receipt.outputs
    model = str(outputs["model_id"])
    if nothing:
        found = Summary(f"Nothing new: {model} was trained on the same reviews with the same options.")
    else:
        found = Summary(f"Trained {model} in {_seconds(receipt)}.")
    if "train_rows" in metrics:
        rows = [(metrics[f"{part}_rows"], words) for part, words in _USES.items()]
        found.add("reviews", ", ".join(f"{count:,} {words}" for count, words in rows if count))
    found.add("teacher", taught(metrics["teacher"]) if "teacher" in metrics else "")
    _add_errors(found, metrics)
    part = next((part for part in ("test", "valid") if f"{part}_accuracy" in metrics), None)
    if part is not None:
        found.add("accuracy", f"{_percent(metrics[f'{part}_accuracy'])} on {_SPLITS[part]}")
        majority = metrics.get(f"{part}_majority_accuracy")
        found.add("compare", f"{_percent(majority)} by always predicting the most frequent label" if majority else "")
        baseline = metrics.get("baseline")
        if baseline is not None:
            found.add("", f"{_percent(baseline[f'{part}_accuracy'])} by {baseline['arch']}, a linear model of n-grams")
    if metrics.get("only_class") is not None:
        found.add("warning", f"it predicts {metrics['only_class']} for every review")
    if metrics.get("only_number"):
        found.add("warning", "it predicts the same number for every review")
    promotion = metrics.get("promotion")
    refused = promotion is not None and promotion["decision"] != "promoted"
    if promotion is not None:
        why = "" if promotion["reason"] == FIRST else f" ({promotion['reason']})"  # the message says it
        found.add("live", f"{promotion['decision']}{why}: {promotion['message']}")
    found.add("model", short_path(outputs["model"]))
    found.add("page", short_path(outputs["report"]) if "report" in outputs else "")
    if not refused:
        found.next = [f"pipeline score{lake} FILE"]
    else:  # nobody wants to promote a model that has learned nothing
        found.next = [f"pipeline models {'show' if _is_useless(metrics) else 'promote'} {model}{lake}"]
    if metrics.get("baseline", {}).get("better"):
        task = " --task regression" if any(f"{part}_mae" in metrics for part in _SPLITS) else ""
        found.next.append(f"pipeline train{lake}{task} --arch {metrics['baseline']['arch']}")
    return found


def _is_useless(metrics: Mapping[str, Any]) -> bool:
    """Whether a model that was not promoted gives the same answer for every review, or worse ones than that."""
    same = metrics.get("only_class") is not None or bool(metrics.get("only_number"))
    return same or metrics["promotion"]["reason"] in (BELOW_MAJORITY, NOT_FINITE)


def _pretrain(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics, outputs = receipt.metrics, receipt.outputs
    name = outputs["pretrained_id"]
    if nothing:
        found = Summary(f"Nothing new: {name} was pretrained on the same data with the same options.")
        found.add("redo", "run the same command with --force to pretrain again")
    else:
        found = Summary(f"Pretrained {name} in {_seconds(receipt)}.")
    found.add("reviews", f"{metrics['train_rows']:,} read")
    if "valid_perplexity" in metrics:
        found.add("perplexity", f"{metrics['valid_perplexity']:.1f} per token on {metrics['valid_rows']:,} other reviews")
    found.add("pretrained", short_path(outputs["pretrained"]))
    fold = f" --fold {metrics['fold']}" if metrics.get("fold") else ""
    found.next = [f"pipeline train{lake}{fold} --init {name}"]
    return found


def taught(teacher: Mapping[str, Any]) -> str:
    """Who labelled how many reviews for a training, and how well, in words."""
    rows = teacher["unlabelled_rows"]
    found = [f"{teacher['model_id'] or teacher['arch']} labelled {rows:,} unlabelled reviews"] if rows else []
    if teacher["weight"]:
        share = f"{teacher['weight']:.0%} of the target of {teacher['labelled_rows']:,} labelled ones"
        found.append(share if found else f"{teacher['model_id'] or teacher['arch']} gave {share}")
    return f"{' and '.join(found)}; {_percent(teacher['valid_accuracy'])} right on the validation split"


def _score(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics, outputs = receipt.metrics, receipt.outputs
    place = short_path(outputs["predictions"]) if outputs.get("predictions", "-") != "-" else "standard output"
    if not outputs:
        return Summary("Nothing to score yet: all files changed only a moment ago.")
    if "inputs" in metrics:
        return _score_each(receipt, place, nothing)
    if nothing or receipt.known:
        found = Summary(f"Nothing new: {place} already has predictions for the same {_count(receipt.known, 'review')}.")
        _left_out(found, receipt)
        found.add("drift", _drift(metrics))
        found.add("redo", "run the same command with --force to score them again")
        return found
    found = Summary(f"Scored {_count(receipt.written, 'review')} in {_seconds(receipt)}.")
    found.add("labels", ", ".join(f"{label} {count:,}" for label, count in metrics.get("predicted", {}).items()))
    unscored = _counts(metrics.get("unscored", {}))
    found.add("unscored", unscored)
    _left_out(found, receipt)
    found.add("drift", _drift(metrics))
    found.add("model", str(outputs["model"]))
    found.add("result", place)
    if place.endswith(".parquet"):
        found.next = [f"pipeline report{lake} --predictions {shlex.quote(place)}"]
    return found


def _add_errors(found: Summary, metrics: dict[str, Any]) -> None:
    """The figures of a regression model."""
    part = next((part for part in ("test", "valid") if f"{part}_mae" in metrics), None)
    if part is None:
        return
    found.add("error", f"mean absolute {metrics[f'{part}_mae']:.4f}, root mean square {metrics[f'{part}_rmse']:.4f}")
    found.add("ranks", f"Spearman {metrics[f'{part}_spearman']:.4f}, all on {_SPLITS[part]}")
    found.add("compare", f"{metrics[f'{part}_constant_mae']:.4f} mean absolute error by always predicting the median")
    if (baseline := metrics.get("baseline")) is not None:
        found.add("", f"{baseline[f'{part}_mae']:.4f} by {baseline['arch']}, a linear model of n-grams")


def _numbers(metrics: dict[str, Any]) -> str:
    """The numbers that a regression model predicted."""
    found = metrics.get("predicted_value")
    if not found or found["mean"] is None:
        return ""
    return f"mean {found['mean']:.4g}, from {found['least']:.4g} to {found['greatest']:.4g}"


def _nightly(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    failed = receipt.exit_code not in (EXIT_DONE, EXIT_NOTHING_NEW)
    if nothing:
        found = Summary("Nothing new: there was nothing to do tonight.")
    else:
        found = Summary(f"The night {'failed' if failed else 'is done'}, after {_seconds(receipt)}.")
    for step in metrics["steps"]:
        left_out = num_chosen(step["metrics"].get("rejects", {}))
        counts = [(step["written"], "written"), (step["known"], "known")]
        counts += [(step["rejected"] - left_out, "rejected"), (left_out, "left out")]
        words = ", ".join(f"{count:,} {name}" for count, name in counts if count)
        outcome = {EXIT_DONE: words or "done", EXIT_NOTHING_NEW: "nothing new"}
        found.add(step["command"], outcome.get(step["exit_code"], f"failed with exit code {step['exit_code']}"))
    for place, line in enumerate(metrics["attention"]):
        found.add("" if place else "attention", line)
    found.add("log", short_path(metrics["log"]))
    return found


def _score_each(receipt: "Receipt", place: str, nothing: bool) -> Summary:
    """The summary of a run with one output per input."""
    metrics, inputs = receipt.metrics, receipt.metrics["inputs"]
    if nothing:
        found = Summary(f"Nothing new: {_count(inputs['known'], 'input')} already scored.")
    else:
        scored = f"{_count(receipt.written, 'review')} of {_count(inputs['scored'], 'input')}"
        found = Summary(f"Scored {scored} in {_seconds(receipt)}.")
        found.add("labels", ", ".join(f"{label} {count:,}" for label, count in metrics.get("predicted", {}).items()))
        found.add("numbers", _numbers(metrics))
        found.add("unscored", _counts(metrics.get("unscored", {})))
        found.add("known", f"{_count(inputs['known'], 'input')} already scored" if inputs["known"] else "")
    if inputs["known_earlier_model"]:
        earlier = _count(inputs["known_earlier_model"], "input")
        found.add("earlier", f"{earlier} scored by an earlier model; --rescore all scores them again")
    _left_out(found, receipt)
    found.add("drift", _drift(metrics))
    found.add("model", str(receipt.outputs["model"]))
    found.add("result", place)
    if nothing and not inputs["known_earlier_model"]:
        found.add("redo", "run the same command with --force to score them again")
    return found


def _evaluate(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    split = f", {_SPLITS[metrics['split']]}" if metrics.get("split") else ""
    found = Summary(f"Evaluated {receipt.outputs['model_id']} on {_count(metrics['rows'], 'review')}{split}.")
    if "mae" in metrics:
        for name, words in (("mae", "mean absolute error"), ("rmse", "root mean square"), ("spearman", "Spearman")):
            low, high = metrics[f"{name}_interval"]
            found.add(words, f"{metrics[name]:.4f}, 95% interval {low:.4f} to {high:.4f}")
        found.add("compare", f"{metrics['constant_mae']:.4f} mean absolute error by always predicting the median")
    for name, words in (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("auc", "ROC AUC")):
        if metrics.get(name) is not None:
            low, high = metrics[f"{name}_interval"]
            found.add(words, f"{metrics[name]:.4f}, 95% interval {low:.4f} to {high:.4f}")
    if (majority := metrics.get("majority_class")) is not None:
        found.add("compare", f"{majority['accuracy']:.4f} accuracy by always predicting {majority['label']}")
        found.add("calibration", f"error {metrics['ece']:.4f}")
    for label, figures in metrics.get("classes", {}).items():
        found.add(label, f"F1 {figures['f1']:.4f} on {_count(figures['rows'], 'review')}")
    left = [(metrics.get("unlabelled", 0), "without a label"), (metrics.get("other_splits", 0), "of other splits")]
    found.add("skipped", ", ".join(f"{count:,} {words}" for count, words in left if count))
    _left_out(found, receipt)
    found.next = [f"pipeline report{lake} --model {receipt.outputs['model_id']}"]
    return found


def _report(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    models = receipt.outputs.get("models")
    of = (
        f"Compared {_count(len(models), 'model')}"
        if models
        else f"Wrote the report of {Path(receipt.outputs['model']).name}"
    )
    found = Summary(f"{of} in {_seconds(receipt)}.")
    found.add("examples", f"{_count(receipt.read, 'review')} of the predictions" if receipt.read else "")
    found.add("page", short_path(receipt.outputs["report"]))
    return found


def _crossval(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics, outputs = receipt.metrics, receipt.outputs
    folds = len(metrics["folds"])
    verb = "Nothing new: all folds were already done" if nothing else f"Trained {folds} folds in {_seconds(receipt)}"
    found = Summary(f"{verb}; tested each of {_count(receipt.read, 'review')} once.")
    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "mae": "mean absolute error", "spearman": "Spearman"}
    for name, words in ((name, words) for name, words in names.items() if name in metrics["mean"]):
        found.add(words, f"{metrics['mean'][name]:.4f} ± {metrics['spread'][name]:.4f} over the folds")
    if "baseline_mae" in metrics["mean"]:
        found.add(
            "compare", f"{metrics['mean']['baseline_mae']:.4f} mean absolute error by ridge, a linear model of n-grams"
        )
    if "baseline_accuracy" in metrics["mean"]:
        found.add("compare", f"{metrics['mean']['baseline_accuracy']:.4f} accuracy by nbsvm, a linear model of n-grams")
    found.add("predictions", short_path(outputs["predictions"]))
    found.add("figures", short_path(outputs["summary"]))
    return found


def _repair(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    if nothing:
        return Summary("Nothing to repair: the table's log, shards and vocabulary, LATEST and the run records are intact.")
    metrics = receipt.metrics
    found = Summary(f"Repaired the lake in {_seconds(receipt)}.")
    found.add(
        "log",
        f"removed {_count(metrics['torn_entries'], 'truncated entry', 'truncated entries')}"
        if metrics["torn_entries"]
        else "",
    )
    found.add("shards", f"{metrics['shards']:,} damaged" if metrics["shards"] else "")
    found.add("reviews", f"{_count(receipt.written, 'review')} read again" if receipt.written else "")
    found.add("vocabulary", _some(metrics["vocabularies"], "restored"))
    found.add("records", _some(metrics["records"], "written again"))
    found.add("set aside", _some([short_path(path) for path in metrics["set_aside"]]))
    found.next = [f"pipeline doctor{lake} --verify"]
    return found


def _upgrade(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    if nothing:
        return Summary("Nothing to upgrade: everything is in the current format.")
    found = Summary(f"Converted files of earlier releases in {_seconds(receipt)}.")
    for name in ("shards", "bundles", "predictions"):
        found.add(name, _some(metrics[name]))
    found.add("values", "ingested again with the current rule" if metrics["values"] else "")
    found.next = [f"pipeline doctor{lake} --verify"]
    return found


def _compact(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    if nothing:
        return Summary("Nothing to merge.")
    verb = "Would merge" if metrics["dry_run"] else "Merged"
    found = Summary(f"{verb} {_count(metrics['merged'], 'small shard')} into {metrics['into']:,}.")
    found.add("rows", f"{metrics['rows']:,}, unchanged")
    found.add("table", f"{_count(metrics['shards'], 'shard')}, version {receipt.outputs['table_version']}")
    found.next = [] if metrics["dry_run"] else [f"pipeline vacuum{lake}"]
    return found


def _vacuum(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    if nothing:
        return Summary("Nothing to delete.")
    files = metrics["files"]
    verb = "Deleted" if metrics["deleted"] else "Would delete"
    found = Summary(f"{verb} {_count(len(files), 'file or folder', 'files and folders')}.")
    found.add("names", _some(files))
    found.add("leftovers", f"{_bytes(metrics['leftover_bytes'])} from crashed runs" if metrics["leftover_bytes"] else "")
    return found


def _retract(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    name = metrics["run"]
    if metrics["undone"]:
        found = Summary(f"Nothing to undo: {name} is not retracted." if nothing else f"{name} is no longer retracted.")
        found.next = [] if nothing or metrics["dry_run"] else [f"pipeline ingest{lake}"]
        return found
    if nothing:
        return Summary(f"Nothing to retract: the table has no row as {name} brought it.")
    dry_run = metrics["dry_run"]
    found = Summary(f"{'Would retract' if dry_run else 'Retracted'} {name}.")
    found.add("removed", _count(metrics["removed"], "review"))
    found.add("restored", f"{_count(metrics['restored'], 'review')} as before the run" if metrics["restored"] else "")
    found.add("lost", f"{_count(metrics['lost'], 'earlier review')}: ingest the old files again" if metrics["lost"] else "")
    found.add("kept", f"{_count(metrics['kept'], 'row')} that later runs replaced or removed" if metrics["kept"] else "")
    found.add("sources", _some(f"{source} ({rows:,})" for source, rows in metrics["sources"].items()))
    found.add("models", _some(metrics["models"], "saw them") if metrics["models"] else "none saw them")
    found.add("live", f"{metrics['live']} is one of them" if metrics["live"] else "")
    if dry_run:
        found.next = [f"pipeline retract{lake} {name}"]
    else:
        found.add("table", f"{short_path(receipt.outputs['tokens'])}, version {receipt.outputs['table_version']}")
        found.next = [metrics["go_back"].replace("pipeline", f"pipeline{lake}", 1)] if metrics["go_back"] else []
    return found


def _erase(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    if nothing and metrics["without_groups"]:
        return Summary("Nothing to erase: no review of the lake has a group. Name reviews with --review-id or --from.")
    if nothing:
        return Summary("Nothing to erase: the lake holds nothing of these reviews.")
    if metrics["reviews"]:
        found = Summary(f"{'Would erase' if metrics['dry_run'] else 'Erased'} {_count(metrics['reviews'], 'review')}.")
    elif metrics["unknown"] == metrics["places"]:
        found = Summary(f"The table has no row with the {'ID' if metrics['unknown'] == 1 else 'IDs'}.")
    elif metrics["unknown"] == 1:
        found = Summary(f"The ID is not in the table; it {'would be' if metrics['dry_run'] else 'is'} kept out from now on.")
    else:
        kept = "would be" if metrics["dry_run"] else "are"
        found = Summary(f"None of the IDs is in the table; they {kept} kept out from now on.")
    found.add("table", _count(metrics["removed"], "row") if metrics["removed"] else "")
    if metrics["versions"]:
        found.add("versions", f"{_count(metrics['versions'], 'old shard')}; older versions can no longer be read")
    found.add("rejects", _count(metrics["rejects"], "row") if metrics["rejects"] else "")
    found.add("predictions", _some(f"{path} ({rows:,})" for path, rows in metrics["predictions"].items()))
    found.add("models", _some(f"{name} ({rows:,})" for name, rows in metrics["pages"].items()))
    found.add("targets", _count(metrics["targets"], "file") if metrics["targets"] else "")
    return found


def _export(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    metrics = receipt.metrics
    found = Summary(f"Exported {receipt.outputs['model_id']} to ONNX in {_seconds(receipt)}.")
    found.add("verified", f"probabilities differ from ours by at most {metrics['largest_difference']:.1e}")
    found.add("file", f"{short_path(receipt.outputs['onnx'])}, {_bytes(metrics['bytes'])}")
    return found


def _fetch(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    size = _bytes(receipt.metrics["bytes"])
    found = Summary(
        f"Nothing new: the file already exists, {size}." if nothing else f"Downloaded {size}; the digest matches."
    )
    found.add("file", short_path(receipt.outputs["raw"]))
    found.next = [f"pipeline ingest{lake}"]
    return found


def _sample(receipt: "Receipt", lake: str, nothing: bool) -> Summary:
    outputs = receipt.outputs
    if nothing:
        found = Summary(f"Nothing new: the same {_count(receipt.known, 'review')} already exist.")
    else:
        found = Summary(f"Wrote {_count(receipt.written, 'synthetic review')} in {_seconds(receipt)}.")
    corpus = Path(outputs["corpus"])
    found.add("corpus", short_path(corpus))
    found.add("to score", short_path(outputs["score_input"]) if "score_input" in outputs else "")
    source = "" if corpus.parent.name == "raw" else f" {shlex.quote(short_path(corpus.parent))}"
    found.next = [f"pipeline ingest{lake}{source}"]
    return found


WRITERS: Mapping[str, Callable[["Receipt", str, bool], Summary]] = {
    "ingest": _ingest,
    "pretrain": _pretrain,
    "train": _train,
    "score": _score,
    "nightly": _nightly,
    "evaluate": _evaluate,
    "report": _report,
    "crossval": _crossval,
    "repair": _repair,
    "upgrade": _upgrade,
    "compact": _compact,
    "vacuum": _vacuum,
    "retract": _retract,
    "erase": _erase,
    "export": _export,
    "fetch": _fetch,
    "sample": _sample,
}

_USES = {"train": "to train", "valid": "to validate", "test": "to test"}
_SPLITS = {"test": "the test split", "valid": "the validation split", "train": "the training split"}


def _drift(metrics: Mapping[str, Any]) -> str:
    """Whether the reviews differ from the model's test data; "" if not."""
    drift = metrics.get("drift")
    if not drift:
        return ""
    if not drift["measured"]:
        return f"not measured: {drift['reason']}"
    return f"{', '.join(drift['over'])}: the reviews differ from the model's test data" if drift["over"] else ""


def _left_out(found: Summary, receipt: "Receipt") -> None:
    """Skipped rows and files, and why."""
    reasons = receipt.metrics.get("rejects", {})
    left_out = num_chosen(reasons)
    if receipt.rejected > left_out:
        why = _counts({reason: rows for reason, rows in reasons.items() if reason not in CHOSEN})
        found.add("rejected", _count(receipt.rejected - left_out, "row") + (f": {why}" if why else ""))
    if left_out:
        found.add("left out", f"{_count(left_out, 'row')} with a label of --skip-labels")
    if receipt.quarantined:
        found.add("skipped", f"{_count(receipt.quarantined, 'unreadable file')}; see the warnings above")
    if "rejects" in receipt.outputs:
        found.add("details", short_path(receipt.outputs["rejects"]))


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]) if count)


def _some(names: Iterable[str], what: str = "") -> str:
    listed = list(names)
    rest = f" and {len(listed) - NAMED:,} more" if len(listed) > NAMED else ""
    return f"{', '.join(listed[:NAMED])}{rest}{f' {what}' if what else ''}" if listed else ""


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _seconds(receipt: "Receipt") -> str:
    seconds = receipt.seconds
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
