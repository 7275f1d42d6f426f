"""The job behind `pipeline report`: a bundle's page, with examples from a scored file when one is named."""

from jobs.runtime import recorded_run
from pipeline.config.report import ReportConfig
from pipeline.errors import CannotWriteError, InputNotFoundError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import find_bundle
from pipeline.reports.examples import choose_from_predictions
from pipeline.reports.write import REPORT, write_report
from schemas.run import Receipt


def run(config: ReportConfig) -> Receipt:
    """Writes the page.

    Raises:
        InputNotFoundError: no such model, or no such predictions.
        DataError: the bundle or the predictions are damaged.
        CannotWriteError: the page cannot be written.
    """
    lake = Lake(config.lake)
    with recorded_run("report", lake, config) as run:
        bundle = find_bundle(lake, config.model)
        examples = None
        if config.predictions is not None:
            path = config.predictions.expanduser()
            if path.is_dir():
                raise InputNotFoundError(f"--predictions {path} is a folder. Name one file that 'pipeline score' wrote.")
            examples = choose_from_predictions(path, bundle.model_id, bundle.labels, config.text_column, config.label_column)
            run.read = examples.num_rows
        output = config.output.expanduser().resolve() if config.output else bundle.folder / REPORT
        if output.is_dir():
            raise CannotWriteError(f"--output {output} is a folder. Give the path of a file, such as {output / REPORT}.")
        run.outputs["report"] = write_report(bundle.folder, examples=examples, model_id=bundle.model_id, output=output)
        run.outputs["model"] = bundle.folder
    return run.receipt()
