"""A night that is killed, and the one after it: what has to hold, beside a twin that nothing befell."""

import json
import re
import shutil
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.doctor.lake import lake_checks
from pipeline.lake.decisions import decisions
from pipeline.lake.paths import Lake
from pipeline.models.bundle import model_ids
from tests.faults.harness import Commands, Ending, Fault, leftovers
from tests.faults.scenarios import Tally
from tests.support.reviews import write_corpus
from tests.support.table_rows import table_rows

SETTINGS = """[ingest]
workers = 0
[train]
arch = "rnn"
epochs = 2
embedding-dim = 4
hidden-dim = 4
batch-size = 32
workers = 0
checkpoint-every = "1"
[score]
workers = 1
rescore = "all"
[nightly]
on-attention = "cat > /dev/null"
"""
KILLS: dict[str, Fault] = {
    "step killed": Fault(action="kill"),
    "step's write torn": Fault(action="torn"),
    "step stopped": Fault(action="term"),
    "night killed": Fault(action="kill owner"),
    "night stopped": Fault(action="term owner"),
    "both killed": Fault(action="kill both"),
}
"""What ends at an operation: the process that does it, the night, or both."""
MODEL = re.compile(r"rnn-\S+")
NOT_THE_MODEL = "model_id"


@dataclass(frozen=True)
class Seen:
    """What a lake holds, apart from the names of runs and models."""

    rows: Counter[tuple[Any, ...]]
    live: str
    """SHA-256 of the live model's weights."""
    models: int
    predictions: dict[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, lake: Path) -> "Seen":
        where = Lake(lake)
        described = json.loads((where.models / where.latest_model() / "model.json").read_text())
        found = {}
        for path in sorted(where.predictions.glob("**/[!.]*.parquet")):
            table = pq.ParquetFile(path).read()
            rows = table.drop_columns([NOT_THE_MODEL]).to_pylist()
            found[str(path.relative_to(where.predictions))] = rows
        return cls(table_rows(lake), described["weights_sha256"], len(model_ids(where)), found)


def without_place(line: str) -> str:
    """A line of attention without the files, models and runs that it names, which differ from night to night."""
    return MODEL.sub("MODEL", line.partition("; see ")[0].partition(" To see them: ")[0])


def told(ending: Ending) -> set[str]:
    """The lines of attention of a night, apart from failures, which the next night may not have."""
    lines = (without_place(line) for line in ending.stderr.splitlines())
    return {line for line in lines if line.startswith(("ingest: ", "train: ", "score: ")) and "exit code" not in line}


@dataclass
class KilledNight:
    """A lake before its second night, the twin after it, and any number of kills."""

    commands: Commands
    folder: Path
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.lake, self.before = self.folder / "lake", self.folder / "before"
        write_corpus(self.lake / "raw", 12)
        (self.lake / "incoming").mkdir()
        (self.lake / "pipeline.toml").write_text(SETTINGS)
        (self.lake / "incoming" / "one.csv").write_text("text\nthis was good\nthis was bad\n")
        assert self.night().code == 0
        (self.lake / "raw" / "aclImdb" / "train" / "pos" / "0_9.txt").write_text("This one was written again, and is good.")
        late = "".join(f"late and good {n},pos\nlate and bad {n},neg\n" for n in range(6))
        (self.lake / "raw" / "late.csv").write_text(f"text,label\n{late}this has another label,odd\n")
        (self.lake / "incoming" / "two.csv").write_text("text\nthis was good after all\nand this\n")
        (self.lake / "incoming" / "three.csv").write_text("text\nthis was so bad\n")
        shutil.copytree(self.lake, self.before)
        ending = self.night(Fault())
        assert ending.code == 0, ending.stderr
        self.operations = ending.counted
        self.twin = Seen.of(self.lake)
        self.said = told(ending)
        assert any("rejected" in line for line in self.said)

    def night(self, fault: Fault | None = None) -> Ending:
        return self.commands.run(self.lake, "--lake", self.lake, "nightly", fault=fault)

    def probe(self, name: str, at: int) -> None:
        """Kills at one operation of the second night, and looks at what the next night makes of it."""
        shutil.rmtree(self.lake, ignore_errors=True)
        shutil.copytree(self.before, self.lake)
        kill = KILLS[name]
        where = f"{name} at {at} of {self.operations}: "
        ending = self.night(Fault(action=kill.action, at=at))
        self.tally.count(ending.code)
        if ending.code not in (0, -signal.SIGKILL, 128 + signal.SIGKILL, 128 + signal.SIGTERM, 75):
            self.tally.add("code", f"{where}ended with {ending.code}: {ending.stderr[-300:]}")
        complete = self._complete()
        again = self.night()
        if again.code not in (0, 99):
            self.tally.add("stuck", f"{where}the next night ended with {again.code}: {again.stderr[-300:]}")
        for text in (ending.stderr, again.stderr):
            if "Traceback" in text:
                self.tally.add("code", f"{where}a traceback: {text[-400:]}")
        if missing := self.said - told(ending) - told(again) - self._noted():
            self.tally.add("untold", f"{where}nobody was told: {missing}")
        self._compare(where)
        self._not_again(where, complete)
        self._look(where)
        idle = self.night()
        if idle.code != 99 or idle.stderr:
            self.tally.add("stuck", f"{where}the night after that ended with {idle.code}: {idle.stderr[-300:]}")

    def _noted(self) -> set[str]:
        """What the night had given to the command of --on-attention, and its record, when it was killed."""
        first = sorted((self.lake / "runs").glob("*-nightly-*.json"))[1]
        record = json.loads(first.read_text())
        if record["outcome"] == "stopped":
            return set()
        return {without_place(line) for line in record["receipt"]["metrics"]["attention"]}

    def _complete(self) -> set[str]:
        """Models that are whole, before the next night."""
        return set(model_ids(Lake(self.lake)))

    def _compare(self, where: str) -> None:
        found = Seen.of(self.lake)
        if found.rows != self.twin.rows:
            lost, doubled = self.twin.rows - found.rows, found.rows - self.twin.rows
            words = f"{where}{sum(lost.values())} rows are missing, {sum(doubled.values())} too many"
            self.tally.add("lost" if lost else "doubled", words)
        if found.live != self.twin.live:
            self.tally.add("half", f"{where}another model is live")
        if found.predictions.keys() != self.twin.predictions.keys():
            words = f"{where}predictions {sorted(found.predictions)}, not {sorted(self.twin.predictions)}"
            self.tally.add("lost", words)
        elif found.predictions != self.twin.predictions:
            self.tally.add("half", f"{where}other predictions")

    def _not_again(self, where: str, complete: set[str]) -> None:
        """Each model is trained once and decided on once."""
        lake = Lake(self.lake)
        names = set(model_ids(lake))
        if not complete <= names or len(names) != self.twin.models:
            self.tally.add("doubled", f"{where}{len(names)} models: {sorted(names)}, before: {sorted(complete)}")
        counts = Counter(decision.model_id for decision in decisions(lake))
        if counts != Counter(names):
            self.tally.add("doubled", f"{where}decisions {dict(counts)}")
        promoted = [decision.model_id for decision in decisions(lake) if decision.promoted]
        if lake.latest_model() != promoted[-1]:
            self.tally.add("half", f"{where}the live model is not the last one promoted")

    def _look(self, where: str) -> None:
        if left := leftovers(self.lake):
            self.tally.add("leftover", f"{where}left {left}")
        for check in lake_checks(Lake(self.lake), verify=True):
            if check.state == "FAIL":
                self.tally.add("health", f"{where}doctor says: {check.name}: {check.detail}")
        status = self.commands.run(self.lake, "--lake", self.lake, "status", "--json")
        if status.code not in (0, 1) or not json.loads(status.stdout.strip().splitlines()[-1]):
            self.tally.add("code", f"{where}status ended with {status.code}: {status.stderr[-300:]}")
        if "</html>" not in (self.lake / "index.html").read_text():
            self.tally.add("half", f"{where}no morning page")
