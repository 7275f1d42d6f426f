"""What is put under faults: a lake as it was, a command, and what has to hold after the fault and after the next run."""

import errno
import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.doctor.lake import lake_checks
from pipeline.lake.decisions import decisions
from pipeline.lake.paths import Lake
from pipeline.models.bundle import model_ids
from tests.faults.harness import Commands, Ending, Fault, leftovers
from tests.support.reviews import write_corpus
from tests.support.table_rows import table_rows

TRAIN = (
    *("--arch", "rnn", "--epochs", 1, "--hidden-dim", 4, "--embedding-dim", 4, "--batch-size", 32, "--workers", 0),
    *("--checkpoint-every", 1),
)
ALLOWED = {0, 65, 66, 69, 73, 75, 99, 128 + signal.SIGTERM, -signal.SIGKILL}
"""Never 70, our own fault, and never 1, a traceback."""
FAULTS: dict[str, Fault] = {
    "kill": Fault(action="kill"),
    "torn": Fault(action="torn"),
    "SIGTERM": Fault(action="term"),
    "ENOSPC": Fault(action="fail", kinds="wcmnlt", errno=errno.ENOSPC, sticky=True),
    "EIO": Fault(action="fail", kinds="rws", errno=errno.EIO, sticky=True),
    "EIO once": Fault(action="fail", kinds="rws", errno=errno.EIO),
    "EACCES": Fault(action="fail", kinds="conlum", errno=errno.EACCES),
}


@dataclass
class Tally:
    """What went wrong, in words and by its kind; `codes` counts how the commands under fault ended."""

    wrong: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    codes: dict[int, int] = field(default_factory=dict)

    def add(self, kind: str, words: str) -> None:
        """Notes something wrong: lost, doubled, half, stuck, code, leftover or health."""
        self.kinds.append(kind)
        self.wrong.append(words)

    def count(self, code: int) -> None:
        """Counts an ending."""
        self.codes[code] = self.codes.get(code, 0) + 1


@dataclass(frozen=True)
class Scenario:
    """`make` leaves the lake before the command in a folder."""

    name: str
    make: Callable[[Commands, Path], None]
    command: tuple[object, ...]
    then: tuple[object, ...] = ()
    """Another command, which must not change the rows afterwards."""

    def argv(self, lake: Path, command: tuple[object, ...] = ()) -> list[object]:
        """The command for a lake; `{lake}` in it stands for its folder."""
        return [str(word).replace("{lake}", str(lake)) for word in command or self.command] + ["--lake", lake]


def make_raw(commands: Commands, lake: Path) -> None:
    """Raw reviews only."""
    write_corpus(lake / "raw", 8)


def make_ingested(commands: Commands, lake: Path) -> None:
    """One night is done; then a file has changed and another one came."""
    make_raw(commands, lake)
    assert commands.run(lake, "ingest", "--lake", lake, "--workers", 0).code == 0
    changed = lake / "raw" / "aclImdb" / "train" / "pos" / "0_9.txt"
    changed.write_text("This one was written again, and is good.")
    (lake / "raw" / "late.csv").write_text("text,label\n" + "".join(f"late and good {number},pos\n" for number in range(5)))


def make_trained(commands: Commands, lake: Path) -> None:
    """A model is there, and a file to be scored."""
    make_raw(commands, lake)
    assert commands.run(lake, "ingest", "--lake", lake, "--workers", 0).code == 0
    assert commands.run(lake, "train", "--lake", lake, *TRAIN).code == 0
    pq.write_table(pa.table({"text": [f"film {number} was so good" for number in range(20)]}), lake / "input.parquet")


def make_folder(commands: Commands, lake: Path) -> None:
    """A folder was scored; then one of its files has changed, and others came."""
    make_trained(commands, lake)
    incoming = lake / "incoming"
    (incoming / "day=2").mkdir(parents=True)
    for name, words in (("known", "good"), ("changed", "bad")):
        (incoming / f"{name}.csv").write_text(f"text\nthis was {words}\n")
    assert commands.run(lake, "score", incoming, "--lake", lake).code == 0
    (incoming / "changed.csv").write_text("text\nthis was good after all\nand this\n")
    (incoming / "day=2" / "new.csv").write_text("text\nthis was new\n")
    pq.write_table(pa.table({"text": [f"film {number} was so bad" for number in range(20)]}), incoming / "new.parquet")


def make_second(commands: Commands, lake: Path) -> None:
    """Two nights are done; the second replaced a review."""
    make_ingested(commands, lake)
    assert commands.run(lake, "ingest", "--lake", lake, "--workers", 0).code == 0


def make_third(commands: Commands, lake: Path) -> None:
    """Two nights are done, of which the first is in the index of keys; then more came, and a line was removed, after which
    the others of its file stand in other rows."""
    make_second(commands, lake)
    (lake / "raw" / "late.csv").write_text("text,label\n" + "".join(f"late and good {n},pos\n" for n in range(1, 5)))
    (lake / "raw" / "later.csv").write_text("text,label\n" + "".join(f"later and bad {n},neg\n" for n in range(5)))


def make_scored(commands: Commands, lake: Path) -> None:
    """The second night's predictions are there, one of a review that is to be erased, and a reject."""
    make_second(commands, lake)
    assert commands.run(lake, "train", "--lake", lake, *TRAIN).code == 0
    (lake / "raw" / "late.csv").write_text(
        "text,label\n" + "".join(f"late and good {n},pos\n" for n in range(5)) + "bad,odd\n"
    )
    assert commands.run(lake, "ingest", "--lake", lake, "--workers", 0).code in (0, 99)
    for name in ("late.parquet", "late.csv"):
        output = ("--output", lake / "predictions" / name)
        assert commands.run(lake, "score", lake / "raw" / "late.csv", "--lake", lake, *output).code == 0


ERASED = ("erase", "--review-id", "raw/late.csv#3", "--review-id", "raw/aclImdb/train/pos/0_9.txt")

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first ingest", make_raw, ("ingest", "--workers", 0)),
        Scenario("second ingest", make_ingested, ("ingest", "--workers", 0)),
        Scenario("third ingest", make_third, ("ingest", "--workers", 0)),
        Scenario("compact", make_second, ("compact",), ("ingest", "--workers", 0)),
        Scenario("rebuild", make_ingested, ("ingest", "--workers", 0, "--rebuild-vocab", "--max-vocab", 30)),
        Scenario("train", make_ingested, ("train", *TRAIN)),
        Scenario("train again", make_trained, ("train", *TRAIN, "--seed", 1)),
        Scenario("retract", make_second, ("retract", "latest"), ("ingest", "--workers", 0)),
        Scenario("erase", make_scored, ERASED, ("ingest", "--workers", 0)),
        Scenario("score", make_trained, ("score", "{lake}/input.parquet", "--workers", 1)),
        Scenario("score a folder", make_folder, ("score", "{lake}/incoming", "--workers", 1)),
    )
}


def _quarantined(ending: Ending) -> bool:
    """Whether the run left out a source that it could not read, and said so: the next run takes it."""
    last = (ending.stdout.strip().splitlines() or ["{}"])[-1]
    return ending.code == 0 and json.loads(last).get("quarantined", 0) > 0


def _predictions(path: Path) -> pa.Table | None:
    return pq.ParquetFile(path).read() if path.exists() else None


class Trial:
    """One scenario: the lake before, the right result, and any number of faults."""

    def __init__(self, scenario: Scenario, commands: Commands, folder: Path) -> None:
        self.scenario, self.commands, self.folder = scenario, commands, folder
        self.lake = folder / "lake"
        self.before, self.after = folder / "before", folder / "after"
        scenario.make(commands, self.lake)
        shutil.copytree(self.lake, self.before)
        ending = self.run()
        assert ending.code == 0, ending.stderr
        shutil.move(self.lake, self.after)
        self.rows = (table_rows(self.before), table_rows(self.after))
        self.tally = Tally()
        self.counted: dict[str, int] = {}

    def run(self, fault: Fault | None = None) -> Ending:
        """Runs the command in the lake."""
        return self.commands.run(self.lake, *self.scenario.argv(self.lake), fault=fault)

    def reset(self) -> None:
        """Puts the lake back as it was before the command."""
        shutil.rmtree(self.lake, ignore_errors=True)
        shutil.copytree(self.before, self.lake)

    def operations(self, kinds: str) -> int:
        """How many operations of these kinds the command does."""
        if kinds not in self.counted:
            self.reset()
            self.counted[kinds] = self.run(Fault(kinds=kinds)).counted
        return self.counted[kinds]

    def probe(self, name: str, at: int) -> None:
        """Puts one fault at one operation, and checks what it left and what the next run makes of it."""
        self.reset()
        fault = Fault(**{**{key: getattr(FAULTS[name], key) for key in ("action", "kinds", "errno", "sticky")}, "at": at})
        ending = self.run(fault)
        self.tally.count(ending.code)
        where = f"{self.scenario.name}, {name} at {at}: "
        last = (ending.stderr.strip().splitlines() or [""])[-1]
        is_unread_settings = name == "EACCES" and ending.code == 2 and "pipeline.toml cannot be read" in last
        if ending.code not in ALLOWED and not is_unread_settings:
            self.tally.add("code", f"{where}ended with {ending.code}: {last}")
        if not _quarantined(ending):
            self._check(where + f"ended with {ending.code}, ", done=ending.code in (0, 99))
        again = self.run()
        if again.code not in (0, 99):
            words = f"{where}the next run ended with {again.code}: {again.stderr.strip().splitlines()[-1:]}"
            self.tally.add("stuck", words)
        self._check(where + "after the next run ", done=True)
        if self.scenario.then:
            then = self.commands.run(self.lake, *self.scenario.argv(self.lake, self.scenario.then))
            if then.code != 99:
                self.tally.add("stuck", f"{where}{self.scenario.then[0]} ended with {then.code}")
            self._check(where + f"after {self.scenario.then[0]} ", done=True)
        self._check_health(where)

    def _check(self, where: str, *, done: bool) -> None:
        rows = table_rows(self.lake)
        if rows != self.rows[1] and (done or rows != self.rows[0]):
            lost, doubled = self.rows[1] - rows, rows - self.rows[1]
            words = f"{where}{sum(lost.values())} rows are missing, {sum(doubled.values())} too many"
            self.tally.add("lost" if lost else "doubled", words)
        names = [path.relative_to(self.after) for path in self.after.glob("predictions/**/[!.]*.parquet")]
        for name in names:
            # Its metadata may say that the input could not be read for its digest; the next run then scores it again.
            found, before, after = (_predictions(root / name) for root in (self.lake, self.before, self.after))
            if found is None and before is None and not done:
                continue
            if found is None:
                self.tally.add("lost", f"{where}no predictions in {name}")
            elif found != after and (done or found != before):
                self.tally.add("half", f"{where}{name} is half")
        if done and self.scenario.command[0] == "train":
            self._check_decisions(where)

    def _check_decisions(self, where: str) -> None:
        """Each model is decided on once, and the last one promoted is live."""
        lake = Lake(self.lake)
        decided = list(decisions(lake))
        counts = Counter(decision.model_id for decision in decided)
        for name in model_ids(lake):
            if counts[name] != 1:
                self.tally.add("doubled" if counts[name] else "lost", f"{where}{counts[name]} decisions on {name}")
        promoted = [decision.model_id for decision in decided if decision.promoted]
        if not promoted or lake.latest_model() != promoted[-1]:
            self.tally.add("half", f"{where}the live model is not the last one promoted")

    def _check_health(self, where: str) -> None:
        if left := leftovers(self.lake):
            self.tally.add("leftover", f"{where}left {left}")
        for check in lake_checks(Lake(self.lake), verify=True):
            if check.state == "FAIL":
                self.tally.add("health", f"{where}doctor says: {check.name}: {check.detail}")
