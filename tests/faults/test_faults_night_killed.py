"""Nights killed at any moment: the next one finishes by itself, as if nothing had been, and does nothing twice."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.harness import Commands, sliced
from tests.faults.killed_nights import KILLS, KilledNight

POINTS = 60
"""Points of each kill in `make faults`, over the whole night."""


@pytest.fixture
def killed(commands: Commands, tmp_path: Path) -> KilledNight:
    return KilledNight(commands, tmp_path)


def sweep(night: KilledNight, name: str, points: int) -> None:
    where = sliced(sorted(random.Random(name).sample(range(1, night.operations + 1), points)))
    for at in where:
        night.probe(name, at)
    found = {"kill": name, "points": len(where), "of": night.operations, "codes": dict(sorted(night.tally.codes.items()))}
    print(json.dumps(found | {"wrong": dict(Counter(night.tally.kinds))}), flush=True)
    assert night.tally.wrong == []


@pytest.mark.slow
def test_a_night_killed_at_some_moments(killed: KilledNight) -> None:
    for name in KILLS:
        sweep(killed, name, 2)


@pytest.mark.faults
@pytest.mark.parametrize("name", KILLS)
def test_a_night_killed_at_any_moment(name: str, killed: KilledNight) -> None:
    sweep(killed, name, POINTS)
