"""`pipeline score` of folders, patterns and several inputs: one output per input, and only for those that have none.

An input that cannot be scored is left out, and the others are scored. Each output appears by itself, so a run that is
stopped leaves those that are finished, and the next run goes on from there.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.drift import Watch, note_drift, recorded_drift
from jobs.runtime import Run, committing
from jobs.score_figures import Figures
from jobs.score_plan import ScorePlan, bad_rows, keeps_earlier, naming, output_root
from pipeline.config.score import ALL, ScoreConfig
from pipeline.engines.score import Scoring, open_scoring
from pipeline.errors import DataError, UsageError, errno_of, is_out_of_memory
from pipeline.lake.atomic import PREFIX, atomic_path, writing
from pipeline.lake.leftovers import Leftover, remove_abandoned
from pipeline.lake.links import place_to_write
from pipeline.lake.locks import locked_output
from pipeline.lake.paths import Lake
from pipeline.progress import Progress, track
from pipeline.readers.base import FileFault
from pipeline.readers.mirror import Mirror
from pipeline.readers.summary import named_faults, summarize
from pipeline.readers.walk import Found
from pipeline.scoring.inputs import open_input
from pipeline.scoring.places import Place, Places
from pipeline.scoring.scored import Note, Notes, digest_of, input_stamp, output_stamp
from pipeline.signals import deferred_stop, raise_if_swallowed
from pipeline.version import __version__
from schemas.contract import ContractError
from schemas.prediction import PREDICTION

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

log = logging.getLogger(__name__)

LISTED = 100
"""As many inputs are listed in the receipt; the rest is counted."""
STATES = SCORED, QUARANTINED, KNOWN = "scored", "quarantined", "known"
"""What became of an input, in the order in which they are listed."""
LASTING = ("damaged", "column", "too_large")
"""Faults of an input that stay until its content changes; others may go by themselves."""

ScoreOne = Callable[[ScorePlan, Scoring, Watch, Path, Progress], Figures]
"""Writes the scored rows of a plan into a temporary file."""


@dataclass
class _Tally:
    """What became of the inputs: how many, and the first of each kind."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    first: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {state: [] for state in STATES})
    earlier: int = 0
    """Known inputs that another model has scored."""

    def add(self, state: str, place: Place, root: Path, rows: int = 0) -> None:
        """Counts an input."""
        self.counts[state] += 1
        if len(self.first[state]) < LISTED:
            told: dict[str, Any] = {"input": place.source.name, "state": state}
            if state != QUARANTINED:
                told |= {"rows": rows, "output": str(place.output.relative_to(root))}
            self.first[state].append(told)

    def summary(self) -> dict[str, Any]:
        """`metrics.inputs` of the receipt."""
        listed = [told for state in STATES for told in self.first[state]]
        return {**self.counts, "known_earlier_model": self.earlier, "listed": listed[:LISTED]}


class ScoreEach:
    """A run over many inputs.

    Args:
        bundle: the model; loaded for the first input that needs it.
        found: the inputs.
        mirror: fetches those that are in a store.
    """

    def __init__(self, config: ScoreConfig, lake: Lake, this: Run, bundle: "Bundle", found: Found, mirror: Mirror) -> None:
        self.config = config
        self.lake = lake
        self.this = this
        self.bundle = bundle
        self.mirror = mirror
        with writing(root := output_root(config, lake)):
            root = place_to_write(root)
        self.found = found
        self.places = Places.of(config.sources, found.sources, root, f".{config.written_as.name}")
        self.naming = naming(config)
        self.keeps_earlier = keeps_earlier(config)
        self.how = digest_of(_how(config) | ({} if self.keeps_earlier else {"model": bundle.content_key}))
        self.tally = _Tally()
        self.figures = Figures(bundle.labels)
        self.watch = Watch.of(config, bundle)
        self.faults: list[FileFault] = []
        self.files = 0
        self.open = ExitStack()
        this.leaves_parts = True

    def run(self, score_one: ScoreOne) -> None:
        """Scores the inputs that have no output yet.

        Raises:
            DataError: more inputs cannot be scored than is allowed.
            LockedError: another run scores one of the folders.
            UsageError: an output would overwrite something else.
        """
        self.score_one, found = score_one, self.found
        self.this.outputs |= {"predictions": self.places.shown, "model": self.bundle.model_id}
        self.faults = list(found.faults)
        self.files = sum(len(source.files) or 1 for source in found.sources) + len(found.faults)
        self._check_faults()
        self._name_combined()
        try:
            with self.open:
                for folder in self.places.folders:
                    self.open.enter_context(locked_output(folder, f"scoring to {folder}"))
                for folder, places in _by_folder(self.places.of_sources(found.sources)):
                    _sweep(folder)
                    with Notes(self.lake.predictions, folder) as notes:
                        for place in places:
                            self._take(place, notes)
                self._check_faults(finished=True)
                if self.tally.counts[SCORED]:
                    self.this.metrics = self.figures.summary(self.scoring)
                    note_drift(self.this, self.config, self.watch.conclude())
                elif self.config.fail_on_drift:
                    shown, model_id = self.places.shown, self.bundle.model_id
                    drift = recorded_drift(self.config, self.lake, shown, model_id, self.this.known)
                    note_drift(self.this, self.config, {} if drift is None else {"drift": drift})
        finally:
            summarize(self.figures.rejects, self.faults, None)
            self.this.quarantined = len(self.faults)
            self.this.metrics |= {"inputs": self.tally.summary(), "quarantined_files": named_faults(self.faults)}
        if self.tally.earlier:
            log.info(
                "%s inputs keep the predictions of an earlier model; --rescore %s scores them again",
                f"{self.tally.earlier:,}",
                ALL,
            )
        self.this.nothing_new = not self.tally.counts[SCORED]
        if not self.this.nothing_new:
            with committing(self.this, self.lake):
                pass

    @cached_property
    def scoring(self) -> Scoring:
        """The model at work; loaded for the first input that needs it."""
        return self.open.enter_context(open_scoring(self.bundle, self.config))

    @cached_property
    def progress(self) -> Progress:
        """One bar for all inputs."""
        return self.open.enter_context(track("scoring"))

    def _take(self, place: Place, notes: Notes) -> None:
        """Scores an input, unless it is scored or known to be faulty."""
        raise_if_swallowed()
        stamp = input_stamp(place.source)
        how = f"{self.how}-{digest_of({'name': place.source.name, 'partitions': place.source.partitions})}"
        note = notes.get(place.output.name)
        if note is not None and not self.config.force and note.input == stamp and stamp and note.how == how:
            if note.fault is not None:
                self._quarantine(place, FileFault(place.source.name, *note.fault))
                return
            if self._is_wanted(note.model) and note.output == output_stamp(place.output):
                self._count_known(place, note.rows, note.model)
                return
        try:
            self._check_output(place)
            with self.mirror.present(place.source) as source:
                rows, model = self._scored(replace(place, source=source))
            if stamp:
                made = output_stamp(place.output)
                notes.put(place.output.name, Note(input=stamp, output=made, how=how, model=model, rows=rows))
        except FileFault as fault:
            self._quarantine(place, fault)
            if stamp and _is_lasting(fault):
                lasting = Note(input=stamp, output="", how=how, model="", fault=(fault.reason, fault.detail))
                notes.put(place.output.name, lasting)

    def _scored(self, place: Place) -> tuple[int, str]:
        """Scores an input unless its output is what it would write; its rows, and the model that scored it."""
        plan = self._plan(place)
        there = None if self.config.force else plan.there(self.lake, self.naming)
        if there is None:
            return self._score(plan, place), self.bundle.model_id
        self._count_known(place, there.rows, there.model_id)
        return there.rows, there.model_id

    def _plan(self, place: Place) -> ScorePlan:
        """Looks at an input. What is wrong with it alone does not keep the others from being scored.

        Raises:
            FileFault: it cannot be scored.
        """
        source, config = place.source, self.config
        try:
            seen = open_input(source.name, Found(sources=[source]), config.text_column, config.keep, config.reading)
            return ScorePlan.of(config, seen, self.bundle, place.output)
        except FileFault:
            raise
        except (DataError, UsageError, ContractError) as error:
            raise _OptionFault(source.name, "column", str(error).removeprefix(f"{source.name}: ").rstrip(".")) from error

    def _score(self, plan: ScorePlan, place: Place) -> int:
        """Scores an input and gives its rows.

        Raises:
            FileFault: it is damaged, or too many of its rows are.
        """
        watch = self.watch.another()
        with atomic_path(plan.output, self._finishing(lambda: self._count_scored(place, figures, watch))) as temporary:
            figures = self.score_one(plan, self.scoring, watch, temporary, self.progress)
            if figures.faults and len(figures.faults) >= plan.source.files:
                raise figures.faults[0]
            if problem := bad_rows(self.config, figures.rows, figures.rejects):
                raise _OptionFault(place.source.name, "damaged", str(problem).rstrip("."))
            if not plan.is_parquet:
                from pipeline.scoring.notes import write_note

                write_note(self.lake.predictions, plan.output, temporary, plan.metadata, figures.written)
        return figures.written

    @contextmanager
    def _finishing(self, count: Callable[[], None]) -> Iterator[None]:
        """For the block in which an output appears: a signal waits until it is counted."""
        raise_if_swallowed()
        with deferred_stop() as stop:
            stop.raise_if_set()
            yield
            count()
        stop.raise_if_set()

    def _is_wanted(self, model_id: str) -> bool:
        return self.keeps_earlier or model_id == self.bundle.model_id

    def _count_scored(self, place: Place, figures: Figures, watch: Watch) -> None:
        self.figures.absorb(figures)
        self.watch.absorb(watch, place.source.name)
        self.this.read += figures.rows + figures.rejects.rows
        self.this.written += figures.written
        self.this.rejected += figures.rejects.rows
        self.tally.add(SCORED, place, self.places.shown, figures.written)
        self.faults += figures.faults
        if figures.faults:
            self._check_faults()

    def _count_known(self, place: Place, rows: int, model_id: str) -> None:
        self.this.read += rows
        self.this.known += rows
        self.tally.add(KNOWN, place, self.places.shown, rows)
        self.tally.earlier += model_id != self.bundle.model_id

    def _quarantine(self, place: Place, fault: FileFault) -> None:
        self.faults.append(fault)
        self.tally.add(QUARANTINED, place, self.places.shown)
        self._check_faults()

    def _check_faults(self, finished: bool = False) -> None:
        """Raises `DataError` when more files are left out than is allowed, or all of them."""
        limit, number = self.config.file_limit, len(self.faults)
        if not number:
            return
        if limit is not None and limit.is_passed(number, self.files):
            problem = f"{number:,} of {self.files:,} files cannot be scored; --max-bad-files allows {limit}"
        elif finished and not self.tally.counts[SCORED] and not self.tally.counts[KNOWN]:
            problem = f"none of {self.files:,} files can be scored"
        else:
            return
        kept = f" {scored:,} inputs were scored before that and stay." if (scored := self.tally.counts[SCORED]) else ""
        problem += f".{kept} The first: "
        raise DataError(f"{problem}{self.faults[0]}.", brief=f"{problem}{self.faults[0].brief}.") from self.faults[0]

    def _check_output(self, place: Place) -> None:
        """Raises `UsageError` where the output is the input itself."""
        is_input = False
        with suppress(OSError):  # one of them is not there
            is_input = place.output.samefile(place.source.path)
        if is_input:
            raise UsageError(
                f"the predictions of {place.source.name} would be written over it, and 'pipeline score' never changes its "
                "input. Choose a folder elsewhere with --output DIR/."
            )

    def _name_combined(self) -> None:
        """Says what becomes of the one output that earlier releases wrote for a folder."""
        for folder in self.places.folders:
            combined = folder.with_name(folder.name + self.places.suffix)
            if self.naming.in_lake and combined.exists() and not folder.exists():
                log.info(
                    "%s, in which an earlier release put the predictions of all inputs, stays as it is; from now on, each "
                    "input has its own output in %s",
                    combined,
                    folder,
                )


class _OptionFault(FileFault):
    """Options do not fit the input; another run may have others, or another model."""


def _is_lasting(fault: FileFault) -> bool:
    """Whether the content of the input is at fault, so that nothing changes until the content does."""
    is_passing = errno_of(fault) is not None or is_out_of_memory(fault.__cause__ or fault)
    return fault.reason in LASTING and not is_passing and not isinstance(fault, _OptionFault)


def _how(config: ScoreConfig) -> dict[str, Any]:
    """What decides an output beside input and model."""
    read = {name: getattr(config, name) for name in ("text_column", "format", "delimiter", "quote", "escape", "encoding")}
    told = read | {name: getattr(config, name) for name in ("keep", "precision", "explain", "abstain_below")}
    made = {"as": config.written_as.name, "contract": PREDICTION.version, "release": __version__}
    return {**told, **config.given_bounds, **made}


def _by_folder(places: Iterator[Place]) -> Iterator[tuple[Path, list[Place]]]:
    """The places of each folder of outputs."""
    before: list[Place] = []
    for place in places:
        if before and before[0].output.parent != place.output.parent:
            yield before[0].output.parent, before
            before = []
        before.append(place)
    if before:
        yield before[0].output.parent, before


def _sweep(folder: Path) -> None:
    """Removes what killed runs left unfinished in a folder."""
    for path in folder.glob(f"{PREFIX}*") if folder.is_dir() else ():
        remove_abandoned(Leftover(path, 0))
