"""What `pipeline score` finds out before it computes anything: input, model, output, and what makes the output."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config.score import LIVE, NEW, ScoreConfig
from pipeline.errors import DataError, UsageError
from pipeline.lake.atomic import writing
from pipeline.lake.links import place_to_write, without_links
from pipeline.lake.paths import Lake
from pipeline.lake.runs import wrote
from pipeline.readers.base import FileFault, Source
from pipeline.readers.registry import format_of
from pipeline.scoring.inputs import ScoreInput
from pipeline.scoring.options import scoring_precision

if TYPE_CHECKING:
    from pipeline.lake.reject_writer import RejectCounts
    from pipeline.models.bundle import Bundle
    from pipeline.scoring.outputs import Naming, Scored
    from pipeline.scoring.writers import ParquetWriter, TextWriter


@dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """What is scored, by which model, into what: found out once, before anything is computed.

    Args:
        output: the file that is written; a temporary one where the data goes to stdout.
        metadata: what made the output, see `output_metadata`.
        schema: the output's columns, see `output_schema`.
    """

    config: ScoreConfig
    source: ScoreInput
    bundle: "Bundle"
    output: Path
    metadata: dict[bytes, bytes]
    schema: pa.Schema

    @classmethod
    def of(cls, config: ScoreConfig, source: ScoreInput, bundle: "Bundle", output: Path) -> "ScorePlan":
        """The plan for an input.

        Raises:
            DataError: more files cannot be read than is allowed.
            UsageError: the input has a column of the prediction's already.
        """
        from pipeline.scoring.outputs import check_abstain, output_metadata, output_schema

        check_files(config, source.faults, source.files)
        check_abstain(bundle.model_id, bundle.labels, config.abstain_below)
        metadata = output_metadata(bundle, source.name, source.sha256(), _options(config, source))
        schema = output_schema(source, bundle.labels, metadata, config.explain)
        return cls(config=config, source=source, bundle=bundle, output=output, metadata=metadata, schema=schema)

    @property
    def is_parquet(self) -> bool:
        """Whether the output is Parquet."""
        return self.config.written_as.name == "parquet"

    @property
    def json_as_is(self) -> bool:
        """Whether values of JSON stay as they were written."""
        return self.source.is_json and self.config.written_as.name == "jsonl"

    @property
    def kept(self) -> pa.Schema:
        """The kept columns of the input, as the reader gives them; for CSV, numbers of JSON as they were written."""
        if self.source.is_json and self.config.written_as.name == "csv":
            return pa.schema([(name, pa.string()) for name in self.source.schema.names])
        return self.source.schema

    def there(self, lake: Lake, naming: "Naming") -> "Scored | None":
        """What the output holds where it is what this run would write, else None."""
        lake.fetch(self.output)
        if self.is_parquet:
            from pipeline.scoring.outputs import scored_before

            return scored_before(self.output, self.metadata, naming, partial(wrote, lake, self.output))
        from pipeline.scoring.notes import scored_noted

        return scored_noted(lake.predictions, self.output, self.metadata, naming)

    def without(self, fault: FileFault) -> "ScorePlan":
        """The plan without a source that turned out to be faulty.

        Raises:
            FileFault: nothing would be left.
            DataError: more files cannot be read than is allowed.
        """
        from pipeline.scoring.outputs import output_schema

        source = self.source.without(fault)
        check_files(self.config, source.faults, source.files)
        schema = output_schema(source, self.bundle.labels, self.metadata, self.config.explain)
        return replace(self, source=source, schema=schema)

    def writer(self, temporary: Path) -> "ParquetWriter | TextWriter":
        """Writes the output's rows into a temporary file."""
        from pipeline.scoring.writers import ParquetWriter, TextWriter

        if self.is_parquet:
            return ParquetWriter(temporary, self.schema, self.config.text_column)
        return TextWriter(temporary, self.schema, self.config.written_as, json_as_is=self.json_as_is)


def check_files(config: ScoreConfig, faults: Sequence[FileFault], files: int) -> None:
    """Raises `DataError` when more files are left out than is allowed."""
    limit = config.file_limit
    if faults and (len(faults) >= files or (limit is not None and limit.is_passed(len(faults), files))):
        if files == 1:
            raise faults[0]
        allowed = "none are left" if limit is None else f"--max-bad-files allows {limit}"
        problem = f"{len(faults):,} of {files:,} files cannot be scored; {allowed}; nothing was written. The first: "
        raise DataError(f"{problem}{faults[0]}.", brief=f"{problem}{faults[0].brief}.")


def bad_rows(config: ScoreConfig, rows: int, rejects: "RejectCounts") -> DataError | None:
    """What is wrong where more rows are bad than is allowed.

    Args:
        rows: those that were read and are not rejected.
    """
    read = rows + rejects.rows
    if config.row_limit.is_passed(rejects.malformed, read):
        problem = f"{rejects.malformed:,} of {read:,} rows are malformed; --max-bad allows {config.row_limit}"
    elif rejects.rows and not rows:
        problem = f"{rejects.rows:,} of {read:,} rows were rejected, so none are left"
    else:
        return None
    problem += "; nothing was written."
    remedy = "Fix the rows, or allow more with --max-bad."
    return DataError(f"{problem} The first: {rejects.first_described}. {remedy}", brief=f"{problem} {remedy}")


def is_scored_one_by_one(config: ScoreConfig) -> bool:
    """Whether each input gets an output of its own, and is scored only if it has none."""
    if config.to_stdout or (config.output is not None and not config.to_folder):
        return False
    return len(config.sources) > 1 or not Path(config.sources[0]).expanduser().is_file()


def keeps_earlier(config: ScoreConfig) -> bool:
    """Whether predictions of another model stay. With a model that the user names, they are wanted from that model."""
    if config.rescore is None:
        return config.model in LIVE and is_scored_one_by_one(config)
    return config.rescore == NEW


def naming(config: ScoreConfig) -> "Naming":
    """How outputs have their places."""
    from pipeline.scoring.outputs import Naming

    return Naming(
        in_lake=config.output is None,
        by_input=config.output is None or config.to_folder,
        any_model=keeps_earlier(config),
    )


def output_root(config: ScoreConfig, lake: Lake) -> Path:
    """The folder of outputs that inputs give their names."""
    return Path(config.output) if config.output else lake.predictions


def output_place(config: ScoreConfig, lake: Lake, source: ScoreInput) -> Path:
    """Where to write.

    Raises:
        UsageError: one of the inputs, or a place inside an input's folder.
        CannotWriteError: a name that cannot be.
    """
    if config.output is None or config.to_folder:
        output = output_root(config, lake) / _default_name(config)
    else:
        output = Path(config.output)
    with writing(output):
        output = place_to_write(output)
        folders = [path.resolve() for path in map(Path, config.sources) if path.is_dir()]
        inside = any(output.is_relative_to(folder) for folder in folders)
        if inside or any(_is_source(output, found) for found in source.sources):
            raise UsageError(
                f"--output {output} is part of the input, which 'pipeline score' never changes. Choose another file."
            )
    return output


def _is_source(output: Path, source: Source) -> bool:
    if source.files:
        return output.parent == source.path and output.name in source.files
    return output == source.path or (output.exists() and source.path.exists() and output.samefile(source.path))


def _default_name(config: ScoreConfig) -> str:
    """The name of the one input, a file, with the suffix of the output's format."""
    name = without_links(Path(config.sources[0]).expanduser()).name
    if (kind := format_of(name)) is not None:
        stem = name.removesuffix(Path(name).suffix) if kind[1] else name
        name = next((stem[: -len(suffix)] for suffix in kind[0].suffixes if stem.lower().endswith(suffix)), stem)
    return f"{name}.{config.written_as.name}"


def _options(config: ScoreConfig, source: ScoreInput) -> dict[str, Any]:
    """What decides the output beside input and model."""
    options = {
        "text_column": list(config.text_column),
        "keep": source.schema.names,
        "precision": scoring_precision(config.precision),
        "explain": config.explain,
    }
    for name in ("abstain_below", "format", "delimiter", "quote", "escape", "encoding"):
        if (value := getattr(config, name)) is not None:
            options[name] = value
    return {**options, **config.given_bounds}
