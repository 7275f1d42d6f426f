"""The job behind `pipeline export`: a bundle in another runtime's format."""

from jobs.runtime import recorded_run
from pipeline.config.export import ExportConfig
from pipeline.errors import CannotWriteError, UsageError
from pipeline.lake.links import place_to_write
from pipeline.lake.paths import Lake
from pipeline.models.bundle import find_bundle
from schemas.run import Receipt

FILE = "model.onnx"


def run(config: ExportConfig) -> Receipt:
    """Writes the file.

    Raises:
        InputNotFoundError: no such model.
        UsageError: the extra is not installed, or the architecture cannot be exported.
        CannotWriteError: the file cannot be written.
    """
    lake = Lake(config.lake)
    with recorded_run("export", lake, config) as run:
        bundle = find_bundle(lake, config.model, "--model")
        output = place_to_write(config.output) if config.output else bundle.folder / FILE
        if output.is_dir():
            raise CannotWriteError(f"--output {output} is a folder. Pass a file path, such as {output / FILE}.")
        try:
            from pipeline.export.onnx_model import export_onnx
        except ModuleNotFoundError as missing:
            raise UsageError(
                f"--format onnx needs {missing.name}, which is not installed. Install it with: "
                "pip install 'review-pipeline[onnx]'"
            ) from missing
        difference = export_onnx(bundle, output)
        run.outputs = {"onnx": output, "model": bundle.folder, "model_id": bundle.model_id}
        run.metrics = {"largest_difference": difference, "bytes": output.stat().st_size}
    return run.receipt()
