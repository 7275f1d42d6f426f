"""The `pipeline.toml` suggested for input files: options by command, each with a comment, merged with existing ones."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Table

from pipeline.config.bounds import BoundsConfig
from pipeline.config.ingest import IngestConfig
from pipeline.config.score import ScoreConfig
from pipeline.errors import PipelineError, UsageError
from pipeline.inspection.guess import Guess
from pipeline.inspection.sample import Sample
from pipeline.lake.store import is_uri
from pipeline.options.option import fields_of
from pipeline.readers.base import Dialect
from pipeline.tasks.kinds import REGRESSION

HEAD = (
    "The default options of this lake, with a table for each command. Command-line options override this file.",
    "Written by 'pipeline init'; edit it freely. 'pipeline COMMAND --help' lists the keys.",
)
COMMENTS = {
    ("ingest", "source"): "Files, folders and URIs that 'pipeline ingest' reads; relative paths begin at the lake.",
    ("ingest", "text-column"): "The column with the review text.",
    ("ingest", "label-column"): "The column with the label.",
    ("ingest", "label-map"): "Classes and their values.",
    ("ingest", "skip-labels"): "Values left out on purpose. Reviews with values in neither list are rejected and reported.",
    ("ingest", "target-column"): "The column with the number to predict.",
    ("ingest", "id-column"): "The column with a unique ID for each review; reviews can then move between files.",
    ("ingest", "id-conflict"): "IDs repeat across files: of several rows with the same ID, the first or the last counts.",
    ("ingest", "group-column"): "The column that groups reviews: all reviews with the same value stay in one split.",
    ("ingest", "split-column"): "The column with the split: train, valid, test or unsup.",
    ("ingest", "format"): "The format of the files in 'source', regardless of their suffix.",
    ("ingest", "delimiter"): "The delimiter between values.",
    ("ingest", "quote"): "The quote character, or none.",
    ("ingest", "escape"): "The character before quote characters inside fields, or none if they are doubled.",
    ("ingest", "encoding"): "The encoding of the files.",
    ("train", "task"): "What is learned: numbers instead of labels.",
    ("score", "text-column"): "The column with the review text in files to score.",
    **{("ingest", one.key): one.option.help for one in fields_of(BoundsConfig)},
}
"""What each option written here does, by command and key."""
LASTING = {("ingest", "id-conflict")}
"""Options that stay if nothing is written for them: they are decisions, and files that call for them may still come."""
USUAL = {"csv": (",", '"', "", "utf-8"), "tsv": ("\t", "", "", "utf-8")}
"""Default delimiter, quotation mark, escape and encoding by format, which are not written."""

Settings = dict[str, dict[str, Any]]
"""Values by command and key, as in TOML."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where input files are, and what the user specified about their format."""

    sources: tuple[str, ...]
    format: str | None = None
    dialect: Dialect = field(default_factory=Dialect)
    bounds: Mapping[str, Any] = field(default_factory=dict)


def settings_for(delivery: Delivery, guess: Guess, samples: Iterable[Sample], lake: Path) -> Settings:
    """The options to read input files as guessed.

    Raises:
        UsageError: a path that cannot be written in TOML.
    """
    ingest: dict[str, Any] = {"source": [_located(source, lake) for source in delivery.sources]}
    if guess.text:
        ingest["text-column"] = _columns(IngestConfig, guess.text)
    for key, value in (
        ("label-column", None if guess.label_optional else guess.label),
        ("label-map", guess.label_map),
        ("skip-labels", guess.skip_labels or None),
        ("target-column", guess.target),
        ("id-column", guess.id),
        ("id-conflict", guess.id_conflict),
        ("group-column", guess.group),
        ("split-column", guess.split),
        ("format", delivery.format),
    ):
        if value is not None:
            ingest[key] = value
    ingest |= {**_dialect(delivery.dialect, samples), **delivery.bounds}
    score = {} if not guess.text or (text := _columns(ScoreConfig, guess.text)) is None else {"text-column": text}
    train = {} if guess.target is None else {"task": REGRESSION.name}
    return {"ingest": ingest, "train": train, "score": score}


def rendered(settings: Settings, before: str = "") -> str:
    """A `pipeline.toml` with these settings.

    Everything else in `before` is kept: other tables, other keys, comments. Keys that can be written here but are missing
    from `settings` are removed, except for those of `LASTING`.
    """
    stay = {(command, key) for command, key in LASTING if key not in settings.get(command, {})}
    ours = {f"# {comment}" for comment in (*HEAD, *(comment for place, comment in COMMENTS.items() if place not in stay))}
    document = tomlkit.parse("".join(line for line in before.splitlines(keepends=True) if line.strip() not in ours))
    for command, values in settings.items():
        table = document.get(command)
        if table is not None:
            for key in [key for key in table if (command, key.replace("_", "-")) in COMMENTS.keys() - stay]:
                del table[key]
        if values:
            if table is None:
                table = document[command] = tomlkit.table()
            _add(table, command, values)
    text = "".join(f"# {line}\n" for line in HEAD) + f"\n{document.as_string().strip()}\n"
    _check(text, settings)
    return text


def _add(table: Any, command: str, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(table, Table):  # an inline table has no comments
            table.add(tomlkit.comment(COMMENTS[command, key]))
        table.add(key, value)


def _check(text: str, settings: Settings) -> None:
    """Raises `PipelineError` unless the text contains the settings."""
    found = tomllib.loads(text)
    for command, values in settings.items():
        if {key: found.get(command, {}).get(key) for key in values} != values:
            raise PipelineError(f"[{command}] of pipeline.toml would not hold {values!r}. Please report this.")


def _located(source: str, lake: Path) -> str:
    """A source for `pipeline.toml`: a URI as it is, a path relative within the lake, else absolute."""
    text = source
    if not is_uri(source):
        path = Path.cwd() / Path(source).expanduser()
        path = path.resolve() if path.exists() else path
        text = (path.relative_to(lake) if path.is_relative_to(lake) else path).as_posix()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!r}: a name that is not UTF-8 cannot stand in pipeline.toml. Rename it, or name the folder that it is in."
        ) from None
    return text


def _columns(config: type, names: tuple[str, ...]) -> str | list[str] | None:
    """Text columns as the command's option accepts them; None if it accepts only one column."""
    kind = next(field.kind for field in fields_of(config) if field.name == "text_column")
    if len(names) == 1 and (kind is str or "," not in names[0]):
        return names[0]
    return list(names) if kind is tuple else None


def _dialect(given: Dialect, samples: Iterable[Sample]) -> dict[str, str]:
    """Values specified by the user, and values shared by all text tables that are not the default of their format."""
    found = [(sample.dialect, USUAL[sample.source.format]) for sample in samples if sample.dialect and sample.rows]
    values: dict[str, str] = {}
    for place, key in enumerate(("delimiter", "quote", "escape", "encoding")):
        value = getattr(given, key)
        those = {getattr(dialect, key) for dialect, _ in found}
        if value is None and len(those) == 1 and any(usual[place] not in those for _, usual in found):
            value = those.pop()
        if value is not None:
            values[key] = {"\t": "tab", "": "none"}.get(value, value)
    return values
