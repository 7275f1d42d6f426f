"""Faults at single file operations: nothing is lost, doubled, half-visible or stuck, and the exit code says what it was.

`make faults` kills at every operation and samples the other faults; the default suite takes a few of each.
`make faults PART=2/12` takes each twelfth point, beginning with the second, so that all of them can be done in slices; what
a slice found is added to `.faults.jsonl`, a line for each scenario and fault.
"""

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.harness import Commands, sliced
from tests.faults.scenarios import FAULTS, SCENARIOS, Trial
from tests.support.paths import ROOT

RESULTS = ROOT / ".faults.jsonl"
SAMPLES = 100
"""Points of each fault but the kill, which `make faults` puts at every operation."""


def points(trial: Trial, fault: str, most: int | None) -> list[int]:
    total = trial.operations(FAULTS[fault].kinds)
    everywhere = range(1, total + 1)
    if most is None or most >= total:
        return list(everywhere)
    chance = random.Random(f"{trial.scenario.name} {fault}")
    # The end of a run is where it commits: half of the points lie in its last fifth.
    late = chance.sample(everywhere[-(total // 5 + most) :], -(-most // 2))
    return sorted({*late, *chance.sample(everywhere, most - len(late))})


FEW = {
    "first ingest": ("kill", "ENOSPC"),
    "second ingest": tuple(FAULTS),
    "third ingest": ("kill", "torn", "EIO once"),
    "compact": ("kill", "ENOSPC"),
    "rebuild": ("kill",),
    "retract": ("kill", "ENOSPC"),
    "erase": ("kill", "EIO"),
    "score": ("ENOSPC", "EIO"),
    "score a folder": ("kill", "EIO once"),
}
SOON = ("first ingest", "retract")
"""The others take longer."""


@pytest.mark.parametrize("name", [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in FEW])
def test_a_few_faults_of_each_kind(name: str, commands: Commands, tmp_path: Path) -> None:
    trial = Trial(SCENARIOS[name], commands, tmp_path)
    for fault in FEW[name]:
        for at in points(trial, fault, 1):
            trial.probe(fault, at)
    assert trial.tally.wrong == []


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_faults_everywhere(name: str, fault: str, commands: Commands, tmp_path: Path) -> None:
    trial = Trial(SCENARIOS[name], commands, tmp_path)
    where = points(trial, fault, None if fault == "kill" else SAMPLES)
    started = time.monotonic()
    for at in sliced(where):
        trial.probe(fault, at)
    found = {
        "part": os.environ.get("FAULTS_PART", "1/1"),
        "scenario": name,
        "fault": fault,
        "points": len(sliced(where)),
        "of": len(where),
        "codes": dict(sorted(trial.tally.codes.items())),
        "wrong": dict(Counter(trial.tally.kinds)),
        "seconds": round(time.monotonic() - started, 1),
    }
    with RESULTS.open("a") as file:
        file.write(json.dumps(found) + "\n")
    print(json.dumps(found))
    assert trial.tally.wrong == []
