"""Bundles of earlier releases: what they lack or hold in an older version, and how it is brought up to date.

Each step replaces one file and can be done again. `model.json` and the weights stay as they are, byte for byte.
"""

from collections.abc import Callable
from pathlib import Path

from pipeline.lake.contract_files import contract_version, read_contract_file, write_contract_file
from pipeline.lake.manifest import MANIFEST, write_manifest
from pipeline.models.bundle import FILES, read_bundle, verify_bundle
from pipeline.reports.files import EXAMPLES, REMEDY, read_examples, write_examples
from schemas.report import EXAMPLE
from schemas.training import METRICS

METRICS_FILE = "metrics.parquet"


def old_parts(folder: Path) -> dict[str, Callable[[], None]]:
    """The files of a bundle that an earlier release wrote or did not know, each with the function that brings it up to date.

    Raises:
        InputNotFoundError: no bundle there.
        DataError: a file is damaged.
    """
    bundle = read_bundle(folder)
    found: dict[str, Callable[[], None]] = {}
    if not (folder / MANIFEST).exists():

        def add_manifest() -> None:
            verify_bundle(bundle)  # the manifest has to prove what was written, not what became of it
            bundle.load_model()
            write_manifest(folder, FILES)

        found[MANIFEST] = add_manifest
    if contract_version(folder / METRICS_FILE, METRICS.remedy) == "":
        found[METRICS_FILE] = lambda: _mark_metrics(folder / METRICS_FILE)
    if contract_version(folder / EXAMPLES, REMEDY) == "1":
        found[EXAMPLES] = lambda: _convert_examples(folder, bundle.labels)
    return found


def _mark_metrics(path: Path) -> None:
    write_contract_file(path, read_contract_file(path, METRICS, METRICS.remedy), METRICS)


def _convert_examples(folder: Path, labels: tuple[str, ...]) -> None:
    table = read_examples(folder, labels)
    assert table is not None
    write_examples(folder, table.cast(EXAMPLE.schema))
