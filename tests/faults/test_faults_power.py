"""Power cuts: whatever the disk still holds, nothing that was reported is lost, and the next run goes on by itself."""

import shutil
from pathlib import Path

import pytest

from pipeline.doctor.lake import lake_checks
from pipeline.lake.paths import Lake
from tests.faults.harness import Commands, Fault, leftovers
from tests.faults.power import Disk, sampled_states
from tests.faults.scenarios import SCENARIOS, Trial
from tests.support.table_rows import table_rows


def cut_the_power(trial: Trial, count: int) -> tuple[int, list[str]]:
    """Tries `count` states of the disk; gives how many, and what went wrong in words."""
    trial.reset()
    before = trial.folder / "power-before"
    shutil.copytree(trial.lake, before)
    inodes = {path.stat().st_ino: path.relative_to(trial.lake) for path in trial.lake.rglob("*") if path.is_file()}
    trace = trial.folder / "trace"
    assert trial.run(Fault(trace=trace)).code == 0
    last = f"of {len(trace.read_text().splitlines())}"
    wrong: list[str] = []
    tried = 0
    for what, state in sampled_states(before, inodes, trial.lake, trace, count):
        tried += 1
        shutil.rmtree(trial.lake)
        state.write(trial.lake)
        where = f"{trial.scenario.name}, {what}: "
        rows = table_rows(trial.lake)
        reported = what.endswith(f"operation {last.removeprefix('of ')} {last}")
        if rows != trial.rows[1] and (reported or rows != trial.rows[0]):
            wrong.append(f"{where}{sum(rows.values())} rows right after it")
        again = trial.run()
        if again.code not in (0, 99):
            wrong.append(f"{where}the next run ended with {again.code}: {again.stderr.strip().splitlines()[-1:]}")
        if (rows := table_rows(trial.lake)) != trial.rows[1]:
            wrong.append(f"{where}{sum(rows.values())} rows after the next run")
        wrong += [f"{where}left {name}" for name in leftovers(trial.lake)]
        failed = [check for check in lake_checks(Lake(trial.lake), verify=True) if check.state == "FAIL"]
        wrong += [f"{where}doctor: {check.name}: {check.detail}" for check in failed]
    return tried, wrong


def test_the_model_knows_what_is_synced(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    disk = Disk(tmp_path / "before", {}, Path("/lake"))
    for line in ("create\t1\t/lake/.tmp", "write\t1\t0\t6162", "sync\t1\t/lake/.tmp", "rename\t/lake/.tmp\t/lake/name"):
        disk.apply(line)
    held = {}
    for number, (what, state) in enumerate(disk.states()):
        state.write(tmp_path / str(number))
        held[what] = {path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()}
    assert held["nothing unsynced"] == {} and held["all of it"] == {"name": b"ab"}
    assert held["name 1 missing"] == {".tmp": b"ab"}
    disk.apply("sync\t9\t/lake")
    assert [what for what, _ in disk.states()] == ["nothing unsynced", "all of it"]


@pytest.mark.slow
def test_a_few_power_cuts(commands: Commands, tmp_path: Path) -> None:
    tried, wrong = cut_the_power(Trial(SCENARIOS["second ingest"], commands, tmp_path), 6)
    assert tried >= 6 and wrong == []


@pytest.mark.faults
@pytest.mark.parametrize(("name", "count"), [("first ingest", 150), ("second ingest", 150), ("rebuild", 100), ("train", 40)])
def test_power_cuts_everywhere(name: str, count: int, commands: Commands, tmp_path: Path) -> None:
    tried, wrong = cut_the_power(Trial(SCENARIOS[name], commands, tmp_path), count)
    print(f"{name}: {tried} states of the disk")
    assert wrong == []
