"""What every job does around its work, when a signal falls at an awkward moment."""

import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.runtime import committing, recorded_run
from pipeline.config.vacuum import VacuumConfig
from pipeline.errors import StoppedError
from pipeline.lake.paths import Lake
from pipeline.signals import raise_on_stop


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Puts the process's signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_in_the_middle_of_an_import_is_a_stop_whatever_it_causes(tmp_path: Path) -> None:
    raise_on_stop()
    with pytest.raises(StoppedError) as stopped, recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except StoppedError:
            raise AttributeError("partially initialized module has no attribute 'x'") from None
    assert stopped.value.exit_code == 143
    (record,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(record.read_text())["outcome"] == "stopped"


def test_an_error_without_a_signal_stays_what_it_is(tmp_path: Path) -> None:
    raise_on_stop()
    with pytest.raises(AttributeError), recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        raise AttributeError("ours")


def test_a_stop_that_an_import_swallows_is_one_before_anything_is_committed(tmp_path: Path) -> None:
    raise_on_stop()
    committed = False
    with (
        pytest.raises(StoppedError) as stopped,
        recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)) as run,
    ):
        with suppress(Exception):  # as libraries do around modules that they can do without
            os.kill(os.getpid(), signal.SIGTERM)
        with committing(run):
            committed = True
    assert stopped.value.exit_code == 143 and not committed
    (record,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(record.read_text())["outcome"] == "stopped"


def test_a_record_keeps_the_warnings_of_its_run(tmp_path: Path) -> None:
    log = logging.getLogger("pipeline.test")
    with recorded_run("vacuum", Lake(tmp_path), VacuumConfig(lake=tmp_path)):
        log.info("nothing to see")
        for _ in range(2):
            log.warning("rows %d\x1b[2J", 3)
        for number in range(30):
            log.warning("another, %d", number)
    log.warning("too late")
    (record,) = (tmp_path / "runs").glob("*.json")
    warnings = json.loads(record.read_text())["warnings"]
    assert warnings[:2] == ["rows 3\\x1b[2J", "another, 0"] and len(warnings) == 20
