"""The output format of scored rows, which the file's suffix decides."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.config.score import STDOUT
from pipeline.errors import UsageError
from pipeline.readers.registry import COMPRESSIONS

SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
OUTPUT_FORMATS = tuple(dict.fromkeys(SUFFIXES.values()))
SUPPORTED = f".parquet, .csv, .jsonl (the latter two also {', '.join(COMPRESSIONS)}), or - for stdout"


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A format of `OUTPUT_FORMATS`, and how its bytes are compressed."""

    name: str
    compression: str | None = None


def output_format(output: str | Path | None, named: str | None) -> OutputFormat:
    """The format of an output.

    Args:
        output: None for a folder (Parquet); `-` for stdout (JSON lines).
        named: the format the user asked for.

    Raises:
        UsageError: the suffix is unknown or contradicts `named`.
    """
    if output is None or str(output) == STDOUT:
        return OutputFormat(named or ("parquet" if output is None else "jsonl"))
    suffixes = [suffix.lower() for suffix in Path(output).suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    told = SUFFIXES.get(suffixes[-2] if compression and len(suffixes) > 1 else suffixes[-1]) if suffixes else None
    if told is None and named is None:
        raise UsageError(f"--output {output}: unknown suffix. Supported: {SUPPORTED}; or add --output-format.")
    if told is not None and named is not None and told != named:
        raise UsageError(f"--output {output} and --output-format {named} contradict each other. Remove one of them.")
    name = named or told or ""
    if compression and name == "parquet":
        raise UsageError(f"--output {output}: Parquet is compressed internally. Use a name that ends in .parquet.")
    return OutputFormat(name, compression)
