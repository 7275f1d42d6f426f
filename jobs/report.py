"""The job behind `pipeline report`: a bundle's page, or the comparison of several."""

import logging
from pathlib import Path

from jobs.runtime import recorded_run
from pipeline.config.report import ReportConfig
from pipeline.errors import CannotWriteError, InputNotFoundError, PipelineError, UsageError
from pipeline.lake.links import place_to_write
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, find_bundle
from pipeline.reports.examples import ScoredColumns, choose_from_predictions
from pipeline.reports.files import NUMBER_FILES, REPORT_FILES
from pipeline.reports.write import REPORT, write_report
from schemas.contract import ContractError
from schemas.run import Receipt

log = logging.getLogger(__name__)

COMPARISON = "comparison.html"


def run(config: ReportConfig) -> Receipt:
    """Writes the page.

    Raises:
        InputNotFoundError: no such model, or no such predictions.
        DataError: a bundle or the predictions are damaged; models that cannot be compared.
        CannotWriteError: the page cannot be written.
    """
    lake = Lake(config.lake)
    with recorded_run("report", lake, config) as run:
        if config.compare:
            from pipeline.reports.compare import write_comparison

            bundles = [find_bundle(lake, model, "--compare") for model in config.models]
            for bundle in bundles:
                _check_labels(bundle, "--compare")
            for bundle in bundles:
                _complete(lake, bundle)
            output = _output(config, lake.models / COMPARISON)
            run.outputs["report"] = write_comparison([bundle.folder for bundle in bundles], output)
            run.outputs["models"] = [bundle.model_id for bundle in bundles]
            return run.receipt()
        bundle = find_bundle(lake, config.model, "--model")
        added = None
        if config.predictions is not None:
            _check_labels(bundle, "--predictions")
            path = config.predictions.expanduser()
            if path.is_dir():
                raise InputNotFoundError(f"--predictions {path} is a folder. Pass one file written by 'pipeline score'.")
            columns = ScoredColumns(
                text=config.text_column,
                label=config.label_column,
                label_map=config.label_map,
            )
            examples = choose_from_predictions(path, bundle.model_id, bundle.labels, columns)
            added = path.name, examples
            run.read = examples.num_rows
        output = _output(config, bundle.folder / REPORT)
        _complete(lake, bundle)
        models = lake.models if bundle.folder.resolve().parent == lake.models.resolve() else None
        run.outputs["report"] = write_report(
            bundle.folder, added=added, model_id=bundle.model_id, models=models, output=output
        )
        run.outputs["model"] = bundle.folder
    return run.receipt()


def _check_labels(bundle: Bundle, option: str) -> None:
    if bundle.task:
        raise UsageError(
            f"{option}: {bundle.model_id} predicts numbers, and only models of labels have such a page. Remove the option; "
            "'pipeline evaluate' gives figures that can be compared."
        )


def _output(config: ReportConfig, default: Path) -> Path:
    output = place_to_write(config.output) if config.output else default
    if output.is_dir():
        raise CannotWriteError(f"--output {output} is a folder. Pass a file path, such as {output / REPORT}.")
    return output


def _complete(lake: Lake, bundle: Bundle) -> None:
    """Scores the held-out reviews for a bundle that lacks what the page shows of them; without its reviews the page says
    less."""
    wanted = NUMBER_FILES if bundle.task else REPORT_FILES
    if all((bundle.folder / name).exists() for name in wanted):
        return
    if bundle.table_version is None:
        log.info("%s was trained on plain shards: the page shows only the data in its bundle", bundle.model_id)
        return
    from jobs.illustrate import illustrate
    from pipeline.order.selection import PARTS, select_as_trained
    from pipeline.tasks.registry import task_of
    from pipeline.training.data import open_data

    try:
        data = open_data(lake, table_version=bundle.table_version)
        if data.vocabulary.fingerprint != bundle.vocabulary:
            raise InputNotFoundError("the lake's table is not the one the model was trained on.")
        selection = select_as_trained(data.shards, task_of(bundle), bundle.training)
        parts = {name: selection.part(name) for name in PARTS}
        illustrate(bundle.folder, tuple(data.shards), data.vocabulary, parts)
    except (PipelineError, ContractError) as error:
        log.warning("%s: the page shows only the data in the bundle: %s", bundle.model_id, error)
