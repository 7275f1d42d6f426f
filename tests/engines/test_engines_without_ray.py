"""What `--engine ray` says where it cannot work, and that the remedies do."""

from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.scoring import make_lake
from tests.support.tables import write_csv


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not installed, whether it is or not."""
    monkeypatch.setattr("pipeline.engines.on_ray.cluster.find_spec", lambda name: None)


@pytest.mark.usefixtures("without_ray")
def test_ray_is_not_installed(tmp_path: Path, command: Run) -> None:
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos", "bad,neg")
    lake = make_lake(tmp_path / "lake")
    commands = ("ingest", reviews), ("score", reviews, "--output", tmp_path / "out.csv")
    for words in commands:
        done = command("--lake", lake, *words, "--engine", "ray")
        assert done.code == 2
        assert "--engine ray needs Ray, which is not installed" in done.stderr
        assert "pip install 'review-pipeline[ray]'" in done.stderr
        assert command("--lake", lake, *words, "--engine", "local").code == 0


def test_the_lake_can_ask_for_it(tmp_path: Path, command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.on_ray.cluster.find_spec", lambda name: None)
    (tmp_path / "pipeline.toml").write_text('[ingest]\nengine = "ray"\n')
    reviews = write_csv(tmp_path / "reviews.csv", "text,label", "good,pos")
    assert command("--lake", tmp_path, "ingest", reviews).code == 2
    assert command("--lake", tmp_path, "ingest", reviews, "--engine", "local").code == 0


def test_other_engines_and_no_workers(tmp_path: Path, command: Run) -> None:
    done = command("--lake", tmp_path, "ingest", tmp_path, "--engine", "rya")
    assert (done.code, "Did you mean 'ray'?" in done.stderr) == (2, True)
    done = command("--lake", tmp_path, "ingest", tmp_path, "--engine", "ray", "--workers", "0")
    assert (done.code, "--workers 0: --engine ray needs at least one" in done.stderr) == (2, True)
