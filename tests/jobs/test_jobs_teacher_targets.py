"""The soft targets that a teacher leaves in a lake: what vacuum, erase, doctor and the nights do with them."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.doctor.lake import lake_checks
from pipeline.lake.live import PROMOTED, make_live
from pipeline.lake.paths import Lake
from pipeline.lake.targets import target_files
from pipeline.models.bundle import read_bundle
from pipeline.reports.data import read_report_data
from pipeline.reports.page import render_page
from schemas.targets import TARGETS
from tests.support.commands import Outcome, Run, invoke, run_here
from tests.support.fork_server import forked_pipeline
from tests.support.ingested import ingest, rows_of
from tests.support.reviews import write_corpus
from tests.support.tables import write_csv

pytestmark = pytest.mark.usefixtures("without_pages")
TEACHER = ("--arch", "nbsvm", "--linear-bits", "10")
STUDENT = ("--arch", "nbsvm", "--linear-bits", "11")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a teacher, live, and a student of it."""
    folder = tmp_path_factory.mktemp("taught")
    lake = folder / "lake"
    ingest(lake, write_corpus(folder / "raw"), workers=0)
    teacher = train(lake, *TEACHER)
    make_live(Lake(lake), teacher["outputs"]["model_id"], PROMOTED)
    student = train(lake, *STUDENT, "--teacher", "LIVE", "--teacher-weight", "0.5", "--promote", "never")
    assert student["metrics"]["teacher"]["model_id"] == teacher["outputs"]["model_id"]
    return lake


@pytest.fixture
def lake(taught: Path, tmp_path: Path) -> Path:
    """A copy of that lake."""
    return Path(shutil.copytree(taught, tmp_path / "lake"))


def train(lake: Path, *arguments: object) -> dict[str, Any]:
    return invoke("train", "--lake", lake, "--no-baseline", *arguments)


def files(lake: Path) -> dict[str, int]:
    """Rows of each file of targets that a teacher has read."""
    tables = {path.stem: pq.read_table(path)["probabilities"] for path in target_files(Lake(lake))}
    return {name: len(table) - table.null_count for name, table in tables.items()}


def checks(lake: Path, state: str) -> list[str]:
    return [
        check.detail for check in lake_checks(Lake(lake), verify=True) if (check.name, check.state) == ("targets", state)
    ]


def test_there_is_a_file_for_each_shard_that_is_learned_from(lake: Path) -> None:
    (folder,) = (lake / ".targets").iterdir()
    live = read_bundle(lake / "models" / (lake / "models" / "LATEST").read_text().strip())
    assert folder.name == live.content_key
    shards = {path.stem: pq.ParquetFile(path).metadata for path in (lake / "tokens").glob("*.parquet")}
    for path in target_files(Lake(lake)):
        with pq.ParquetFile(path) as file:
            TARGETS.check(file.schema_arrow, str(path))
            assert file.metadata.num_rows == shards[path.stem].num_rows
            assert file.metadata.num_row_groups == shards[path.stem].num_row_groups
        known = [row for row in pq.read_table(path)["probabilities"].to_pylist() if row is not None]
        assert all(len(row) == 2 and abs(sum(row) - 1) < 1e-5 for row in known)
    assert sorted(name.partition("-")[0] for name in files(lake)) == ["train", "unsup"], "the test split is not read"
    assert sum(files(lake).values()) == 70


def test_vacuum_keeps_what_a_model_and_a_version_need(lake: Path) -> None:
    before = files(lake)
    vacuum = ("vacuum", "--lake", lake, "--keep-hours", "0")
    invoke(*vacuum)
    assert files(lake) == before
    gone = next(path for path in target_files(Lake(lake)) if path.stem.startswith("unsup"))
    of_no_shard = gone.with_name(f"unsup-{'0' * 64}.parquet")
    gone.rename(of_no_shard)
    unfinished = gone.with_name(".tmp-0a1b-unsup.parquet")
    unfinished.write_bytes(b"PAR1")
    assert of_no_shard.relative_to(lake).as_posix() not in invoke(*vacuum[:3])["metrics"]["files"], "it is young"
    assert not unfinished.exists()
    assert of_no_shard.relative_to(lake).as_posix() in invoke(*vacuum, "--dry-run")["metrics"]["files"]
    assert of_no_shard.exists()
    invoke(*vacuum)
    assert not of_no_shard.exists() and len(files(lake)) == 1
    teacher = (lake / "models" / "LATEST").read_text().strip()
    student = next(path.name for path in (lake / "models").glob("nbsvm-*") if path.name != teacher)
    make_live(Lake(lake), student, PROMOTED)
    shutil.rmtree(lake / "models" / teacher)
    old = time.time() - 8 * 24 * 3600
    for path in target_files(Lake(lake)):
        os.utime(path, (old, old))
    invoke(*vacuum[:3])
    assert not any((lake / ".targets").iterdir()), "the teacher is gone"


def test_erase_forgets_what_the_teacher_said_about_the_review(lake: Path) -> None:
    victim = next(row["review_id"] for row in rows_of(lake) if row["split"] == "unsup")
    before = files(lake)
    dry = invoke("erase", "--lake", lake, "--review-id", victim, "--dry-run")
    assert dry["metrics"]["targets"] == 1 and files(lake) == before
    assert invoke("erase", "--lake", lake, "--yes", "--review-id", victim)["metrics"]["targets"] == 1
    assert [name.partition("-")[0] for name in files(lake)] == ["train"]
    again = train(lake, *STUDENT, "--teacher", "LIVE", "--teacher-weight", "0.5")
    assert again["metrics"]["teacher"]["unlabelled_rows"] == 9
    assert sum(files(lake).values()) == 69


@pytest.mark.slow
def test_erase_names_the_students_of_a_model_that_has_read_the_review(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, write_corpus(tmp_path / "raw"), workers=0)
    later = write_csv(tmp_path / "later.csv", "order,text,label", "o-1,a film to forget,neg")
    run = ingest(lake, later, id_column="order", workers=0)
    reader = train(lake, *TEACHER, "--promote", "always")["outputs"]["model_id"]
    invoke("retract", "--lake", lake, run.run_id)
    student = train(lake, *STUDENT, "--teacher", reader)["outputs"]["model_id"]
    apart = train(lake, *STUDENT, "--teacher", "nbsvm")["outputs"]["model_id"]
    erased = invoke("erase", "--lake", lake, "--yes", "--review-id", "o-1")
    assert sorted(erased["metrics"]["models"]) == sorted([reader, student]) and apart != student


def test_doctor_finds_a_damaged_file_and_its_remedy_is_true(lake: Path) -> None:
    (good,) = checks(lake, "OK")
    assert good.startswith("2 files of soft targets, ")
    path = target_files(Lake(lake))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    (bad,) = checks(lake, "WARN")
    assert str(path) in bad and checks(lake, "OK") == []
    path.unlink()  # "Delete it; the next training with this teacher writes it again."
    train(lake, *STUDENT, "--teacher", "LIVE", "--teacher-weight", "0.5", "--force")
    assert path.exists() and checks(lake, "OK") == [good]


def test_the_record_the_summary_and_the_page_say_who_taught(lake: Path, command: Run) -> None:
    teacher = (lake / "models" / "LATEST").read_text().strip()
    student = next(path.name for path in (lake / "models").glob("nbsvm-*") if path.name != teacher)
    shown = command("--lake", lake, "models", "show", student).stdout
    said = "labelled 10 unlabelled reviews and 50% of the target of 54 labelled ones; 100.0% right on the validation split"
    assert f"{teacher} {said}" in " ".join(shown.split())
    page = render_page(read_report_data(lake / "models" / student, model_id=student))
    assert "Teacher" in page and teacher in page and "accuracy on validation reviews" in page


@pytest.mark.slow
def test_nights_follow_the_live_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())
    lake = tmp_path / "lake"
    write_corpus(lake / "raw")
    (lake / "pipeline.toml").write_text(
        '[train]\narch = "nbsvm"\nlinear-bits = 12\nteacher = "LIVE"\nbaseline = false\n[nightly]\nunknown-limit = 0.9\n'
    )

    def night(*options: object) -> tuple[Outcome, dict[str, Any]]:
        done = run_here("--lake", lake, "nightly", *options)
        return done, next(step for step in done.receipt["metrics"]["steps"] if step["command"] == "train")

    def live() -> str:
        return (lake / "models" / "LATEST").read_text().strip()

    taught_by = []
    for number in range(2):
        before = live() if number else None
        write_csv(lake / "raw" / f"night{number}.csv", "text,split", f"Nobody has judged film {number} tonight.,unsup")
        done, step = night()
        assert (done.code, step["exit_code"], done.stderr) == (0, 0, "")
        taught_by.append(step["metrics"]["teacher"]["model_id"])
        assert taught_by[-1] == before
        assert step["metrics"]["teacher"]["unlabelled_rows"] == 11 + number
    assert night()[0].code == 99, "no review is new"
    # A vocabulary that was rebuilt does not fail the night: the live model's answers no longer fit.
    write_csv(lake / "raw" / "more.csv", "text,label", "an utterly new thing of glorious words,pos")
    invoke("ingest", "--lake", lake, "--rebuild-vocab")
    done, step = night()
    assert step["exit_code"] == 0 and step["metrics"]["teacher"]["model_id"] is None
    (line,) = done.stderr.splitlines()
    assert "the vocabulary of nbsvm-" in line and "Until then, nbsvm teaches." in line
