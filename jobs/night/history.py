"""What earlier nights reported, so that nothing is reported twice, and what a killed night had no time to report."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jobs.night.attention import attention
from jobs.night.log_file import log_of
from jobs.night.step import Step
from pipeline.errors import EXIT_DONE, PipelineError
from pipeline.lake.decisions import Decision, decisions
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_record, record_paths

STOPPED = "stopped"
FAR_BACK = 30
"""Number of nights searched for the last one with a step of a command."""


class History:
    """The last steps of the nights before `run_id`, by command, of those that looked at all of their input.

    Ingest and score do so even if they find nothing new; train then ends before it reads anything. A night that was killed
    or stopped has told nobody anything: its steps are not among them, but those after the last night that did are untold.
    """

    def __init__(self, lake: Lake, run_id: str) -> None:
        self.lake = lake
        self._steps: dict[str, Step] = {}
        self._told_tonight: dict[str, Step] = {}
        self._told = ""
        """The last night that has told."""
        for record in _nights(lake, run_id):
            if record["outcome"] == STOPPED:
                continue
            self._told = self._told or record["run_id"]
            for found in reversed(record["receipt"].get("metrics", {}).get("steps", [])):
                with suppress(TypeError, AttributeError):  # a record that somebody has edited
                    step = Step.of(found)
                    if step.exit_code == EXIT_DONE or (step.command != "train" and not step.failed):
                        self._steps.setdefault(step.command, step)
        self._untold = [*_untold_steps(lake, self._told, run_id)]

    def untold(self) -> Iterator[str]:
        """What a person must know of nights that were killed or stopped before they told it.

        Their failures are not among it: this night tries again.
        """
        for step, log_file in self._untold:
            yield from attention(step, self.last(step.command), log_file)
            self._told_tonight[step.command] = step
        decision = _unrecorded_decision(self.lake, self._told)
        if decision is not None:
            step = Step(
                command="train",
                run_id=decision.run_id,
                exit_code=EXIT_DONE,
                seconds=0.0,
                outputs={"model_id": decision.model_id},
                metrics={"promotion": decision.facts()},
            )
            yield from attention(step, self.last("train"), "")

    def before(self, command: str) -> Step | None:
        """The newest step of a command of which a person was told, be it at the beginning of this night."""
        return self._told_tonight.get(command) or self.last(command)

    def scored(self) -> Step | None:
        """The newest step of score, told or not."""
        untold = [step for step, _ in self._untold if step.command == "score"]
        return untold[-1] if untold else self.last("score")

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


def _untold_steps(lake: Lake, told: str, run_id: str) -> Iterator[tuple[Step, str]]:
    """The steps, oldest first, and their logs, of nights between `told` and `run_id`; the last of each command that did not
    fail."""
    found: dict[str, tuple[Step, str]] = {}
    for path in record_paths(lake):
        if not told < path.stem < run_id:
            continue
        with suppress(PipelineError):
            record = read_record(path)
            night = record.get("part_of") or ""
            step = Step.of_record(record)
            if told < night < run_id and not step.failed and (step.exit_code == EXIT_DONE or step.command not in found):
                found.pop(step.command, None)
                found[step.command] = step, str(log_of(lake, night))
    yield from found.values()


def _unrecorded_decision(lake: Lake, told: str) -> Decision | None:
    """The last decision, if its training was killed before it could record it, since the night `told`."""
    last = next(reversed(list(decisions(lake))), None)
    is_recorded = last is None or (lake.runs / f"{last.run_id}.json").exists()
    return None if last is None or is_recorded or last.run_id < told else last
