"""What the nights before said: a person is told once, not every night again."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jobs.night.step import Step
from pipeline.errors import EXIT_DONE, PipelineError
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_record

FAR_BACK = 30
"""So many nights are looked through for the last one with a step of a command."""


class History:
    """The last steps of the nights before `run_id`, by command, of those that looked at all of their input.

    Ingest does so even if it finds nothing new; other commands then end before they read anything.
    """

    def __init__(self, lake: Lake, run_id: str) -> None:
        self.lake = lake
        self._steps: dict[str, Step] = {}
        for record in _nights(lake, run_id):
            for found in reversed(record["receipt"].get("metrics", {}).get("steps", [])):
                with suppress(TypeError, AttributeError):  # a record that somebody has edited
                    step = Step.of(found)
                    if step.exit_code == EXIT_DONE or (step.command == "ingest" and not step.failed):
                        self._steps.setdefault(step.command, step)

    def last(self, command: str) -> Step | None:
        """The newest step of a command, with the warnings in its own record."""
        step = self._steps.get(command)
        if step is None or not step.run_id:
            return step
        with suppress(PipelineError):
            record = read_record(self.lake.runs / f"{step.run_id}.json")
            return replace(step, warnings=tuple(record.get("warnings", ())), briefs=record.get("warning_briefs", {}))
        return step

    def rebuilt_share(self) -> float | None:
        """The share of unknown tokens that the last rebuild of the vocabulary has left; None if nothing says so."""
        for path in sorted(self.lake.runs.glob("*-ingest-*.json"), reverse=True)[: 2 * FAR_BACK]:
            with suppress(PipelineError):
                record = read_record(path)
                share = record["receipt"].get("metrics", {}).get("unknown_share_table")
                if record["config"].get("rebuild_vocab") and record["outcome"] == "done" and isinstance(share, float):
                    return share
        return None


def _nights(lake: Lake, run_id: str) -> Iterator[dict[str, Any]]:
    paths = sorted((path for path in lake.runs.glob("*-nightly-*.json") if path.stem < run_id), reverse=True)
    for path in paths[:FAR_BACK]:
        with suppress(PipelineError):
            yield read_record(path)
