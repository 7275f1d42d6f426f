"""`pipeline status` on real lakes: what it prints, its exit code, and that the commands it suggests help."""

import json
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from schemas.status import STATUS
from tests.support.commands import Outcome, run_here
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT
from tests.support.terminal import run_in_terminal

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with two models, whose first commands were sample, ingest, train, train and score."""
    lake = tmp_path_factory.mktemp("status") / "lake"
    new = lake.parent / "new.parquet"
    sizes = ("--reviews", 60, "--test-reviews", 20, "--unsup", 0)
    assert run_here("--lake", lake, "sample", lake / "raw", *sizes, "--score-input", new).code == 0
    assert run_here("--lake", lake, "ingest").code == 0
    for seed in (1, 2):
        assert run_here("--lake", lake, "train", "--arch", "nbsvm", "--no-baseline", "--seed", seed).code == 0
    assert run_here("--lake", lake, "score", new).code == 0
    return lake


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    """The same lake, to be changed."""
    shutil.copytree(made, tmp_path / "lake")
    return tmp_path / "lake"


def status(lake: Path, *arguments: object) -> Outcome:
    return run_here("--lake", lake, "status", "--min-free", 0, *arguments)


def document(lake: Path, *arguments: object) -> dict[str, Any]:
    done = status(lake, "--json", *arguments)
    assert len(done.stdout.splitlines()) == 1
    found = STATUS.check(json.loads(done.stdout), "stdout")
    assert done.code == (1 if found["attention"] else 0) == int(found["needs_person"])
    return found


def kinds(lake: Path) -> list[str]:
    return [one["kind"] for one in document(lake)["attention"]]


def remedy(lake: Path, kind: str) -> Outcome:
    """Runs the command that the status suggests for a finding."""
    (command,) = [one["command"] for one in document(lake)["attention"] if one["kind"] == kind]
    name, *arguments = shlex.split(command)
    assert name == "pipeline"
    return run_here(*arguments)


def test_a_lake_whose_commands_went_well_needs_nobody(lake: Path) -> None:
    done = status(lake)
    assert done.code == 0 and done.stderr == ""
    head, *rest = done.stdout.splitlines()
    assert head.startswith("All well: 500 reviews scored, ") and head.endswith(" UTC.")
    facts = {line.split()[0]: " ".join(line.split()[1:]) for line in rest if not line.startswith("   ")}
    assert facts["table"] == "version 0: 80 reviews, 80 labelled (neg, pos)"
    assert facts["ingest"].startswith("exit code 0, ") and facts["ingest"].endswith(": 80 read, 80 written")
    assert facts["live"].startswith("nbsvm-") and "disk" in facts and "Next:" not in done.stdout
    assert status(lake, "--json").stdout.count("\n") == 1
    assert run_here("--quiet", "--lake", lake, "status", "--min-free", 0).stdout == ""


def test_the_document_says_what_the_lake_holds(lake: Path) -> None:
    found = document(lake)
    assert found["lake"] == str(lake) and found["page"] is None
    assert found["table"] == {"version": 0, "rows": 80, "labelled": 80, "labels": ["neg", "pos"]}
    assert found["live"]["model_id"] == (lake / "models" / "LATEST").read_text().strip()
    assert found["live"]["measured_on"] == "test" and 0 < found["live"]["accuracy"] <= 1
    assert [run["command"] for run in found["runs"]] == ["ingest", "train", "score", "sample"]
    sizes = {path: path.stat().st_size for path in lake.rglob("*") if path.is_file()}
    assert found["disk"]["used"] == sum(sizes.values())
    tokens = [size for path, size in sizes.items() if path.is_relative_to(lake / "tokens")]
    assert found["disk"]["parts"]["tokens"] == sum(tokens)


def test_rejected_rows_need_a_person_once(lake: Path) -> None:
    (lake / "raw" / "bad.csv").write_text("text,label\nfine film,pos\n,neg\nodd one,maybe\n")
    assert run_here("--lake", lake, "ingest").code == 0
    done = status(lake)
    assert done.code == 1
    assert done.stdout.startswith("Needs you: 2 rows rejected by ingest (1 missing_text, 1 unknown_label) in raw/bad.csv, ")
    assert f"Next: pipeline --lake {lake} runs show " in done.stdout
    shown = remedy(lake, "rejected")
    assert shown.code == 0 and "raw/bad.csv, row 2: unknown_label: label 'maybe'" in shown.stdout
    assert run_here("--lake", lake, "ingest").code == 99
    assert kinds(lake) == ["rejected"], "the same rows were rejected again, but whoever typed this has hardly seen them"


def test_a_skipped_file_and_a_failed_run_need_a_person(lake: Path) -> None:
    (lake / "raw" / "cut.parquet").write_bytes(b"PAR1 and no more")
    run_here("--lake", lake, "ingest")
    assert kinds(lake) == ["quarantined"]
    assert remedy(lake, "quarantined").code == 0
    assert run_here("--lake", lake, "ingest", lake / "raw" / "cut.parquet").code == 65
    found = document(lake)
    assert found["verdict"].startswith("Needs you: ingest failed with exit code 65, ")
    assert "exit code 65" in remedy(lake, "failed").stdout
    (lake / "raw" / "cut.parquet").unlink()
    assert run_here("--lake", lake, "ingest").code == 99
    assert kinds(lake) == []


def changed_record(lake: Path, command: str, **metrics: Any) -> None:
    """Adds metrics to the last run of a command, as later releases measure them."""
    path = max((lake / "runs").glob(f"*-{command}-*"))
    record = json.loads(path.read_text())
    record["receipt"]["metrics"] |= metrics
    path.write_text(json.dumps(record))


def test_the_commands_for_models_drift_and_vocabulary_work(lake: Path) -> None:
    history = lake / "models" / "live.jsonl"
    first, second = (json.loads(line)["model_id"] for line in history.read_text().splitlines())
    history.write_text(history.read_text().splitlines(keepends=True)[0])  # as if the second had not been promoted
    (lake / "models" / "LATEST").write_text(f"{first}\n")
    decision = {"decision": "not promoted", "reason": "worse", "message": "It is worse. Look at it."}
    changed_record(lake, "train", promotion=decision)
    changed_record(lake, "ingest", unknown_share=0.3)
    changed_record(lake, "score", drift={"measured": True, "drifted": True, "over": ["length"], "psi": {"length": 0.4}})
    assert kinds(lake) == ["not_promoted", "drift", "unknown_tokens"]
    assert document(lake)["attention"][0]["message"] == f"{second} did not go live: It is worse"
    compared = remedy(lake, "not_promoted")
    assert compared.code == 0 and json.loads(compared.stdout)["outputs"]["models"] == [first, second]
    assert "drift" in remedy(lake, "drift").stdout
    assert run_here("--lake", lake, "models", "promote", second).code == 0
    assert remedy(lake, "unknown_tokens").code in (0, 99)
    assert kinds(lake) == ["drift"]


@pytest.mark.slow
def test_without_a_live_model_and_with_a_damaged_record_the_remedies_help(lake: Path) -> None:
    (lake / "models" / "LATEST").write_text("gone\n")
    assert kinds(lake) == ["no_model"]
    assert remedy(lake, "no_model").code == 0 and kinds(lake) == []
    record = max((lake / "runs").glob("*-score-*"))
    record.write_text("{")
    assert kinds(lake) == ["damaged"] and record.name in document(lake)["verdict"]
    assert remedy(lake, "damaged").code == 0 and kinds(lake) == []
    shutil.rmtree(lake / "models")
    assert kinds(lake) == ["no_model"]
    done = remedy(lake, "no_model")
    assert done.code in (0, 99), done.stderr
    assert kinds(lake) == []


def test_an_old_night_and_a_full_disk(lake: Path) -> None:
    for path in (lake / "runs").iterdir():
        path.write_text(path.read_text().replace('"finished": "20', '"finished": "19'))
    assert kinds(lake) == ["stale"]
    assert remedy(lake, "stale").code == 99 and kinds(lake) == []
    done = run_here("--lake", lake, "status", "--min-free", "1048576GiB")
    assert done.code == 1 and "GiB are free on the lake's disk" in done.stdout
    assert "pipeline vacuum --models --runs" in done.stdout.replace(f" --lake {lake}", "")
    assert run_here("--lake", lake, "vacuum", "--models", "--runs").code in (0, 99)


def test_limits_are_read_from_the_lakes_file(lake: Path) -> None:
    (lake / "pipeline.toml").write_text('[status]\nmax-age = "1s"\nmin-free = "1KiB"\n')
    for path in (lake / "runs").iterdir():
        path.write_text(path.read_text().replace('"finished": "20', '"finished": "19'))
    assert run_here("--lake", lake, "status").code == 1
    assert run_here("--lake", lake, "status", "--max-age", 0).code == 0
    assert run_here("--lake", lake, "doctor").code == 0
    (lake / "pipeline.toml").write_text("[status]\nmax-age = -1\n")
    refused = run_here("--lake", lake, "status")
    assert refused.code == 2 and "[status]: max-age -1: expected a time" in refused.stderr


@pytest.mark.parametrize("option", [("--max-unknown", "2"), ("--min-free", "lots"), ("--max-age", "soon")])
def test_wrong_limits_are_usage_errors(lake: Path, option: tuple[str, str]) -> None:
    done = run_here("--lake", lake, "status", *option)
    assert done.code == 2 and option[0] in done.stderr


def test_an_empty_lake_needs_a_person_and_an_absent_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert kinds(tmp_path / "empty") == ["no_runs"]
    assert not list((tmp_path / "empty").iterdir())
    absent = status(tmp_path / "absent", "--page")
    assert absent.code == 66 and "there is no lake at" in absent.stderr
    assert not (tmp_path / "absent").exists()


def test_a_lake_of_the_first_release(tmp_path: Path) -> None:
    with tarfile.open(ROOT / "tests" / "support" / "first_lake.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    done = status(tmp_path / "lake", "--max-age", 0, "--page")
    assert done.code in (0, 1) and done.stderr == ""
    assert "48 reviews" in done.stdout or "reviews" in done.stdout
    assert (tmp_path / "lake" / "index.html").is_file()


def test_the_page_is_written_and_named(lake: Path) -> None:
    before = set(lake.rglob("*"))
    done = status(lake, "--page")
    assert done.code == 0 and str(lake / "index.html") in done.stdout
    assert set(lake.rglob("*")) - before == {lake / "index.html"}, "no run record, no leftovers"
    assert "All well" in (lake / "index.html").read_text() and document(lake)["page"] == str(lake / "index.html")


def test_what_a_killed_writer_of_the_page_left_is_removed_by_the_next_run(lake: Path) -> None:
    left = [lake / ".tmp-0123abcd-index.html", lake / ".tmp-0123abcd-pipeline.toml"]
    foreign = lake / ".tmp-notes.txt"
    for path in (*left, foreign):
        path.write_text("<!doctype")
    assert status(lake, "--page").code == 0
    assert run_here("--lake", lake, "ingest").code == 99
    assert foreign.exists() and not any(path.exists() for path in left)


def test_a_page_that_cannot_be_written(lake: Path) -> None:
    (lake / "index.html").mkdir()
    done = status(lake, "--page")
    assert done.code == 73 and "index.html" in done.stderr


def test_on_a_terminal_lines_fit(lake: Path) -> None:
    shown = run_in_terminal([*forked_pipeline(), "--lake", lake, "status", "--min-free", 0], 60)
    assert shown.code == 0 and shown.text.startswith("All well: ")
    ids = [line for line in shown.text.splitlines() if len(line) > 60]
    assert all(len(line.split()) <= 2 for line in ids), "only a path or an ID is longer"


def test_the_status_imports_neither_torch_nor_matplotlib(lake: Path) -> None:
    code = (
        "import sys; from pipeline.cli.app import run_command_line; "
        f"sys.argv = ['pipeline', '--lake', {str(lake)!r}, 'status', '--page', '--min-free', '0']; "
        "code = run_command_line(); assert code == 0, code; "
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = done.stdout.rpartition("MODULES")[2].split()
    assert "jinja2" in modules and not {"torch", "matplotlib", "torchdata"} & set(modules)
