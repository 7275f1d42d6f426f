"""What a night says never holds a customer's text; and where it says it: stderr, the log, a command, a metrics file."""

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.lake.locks import locked
from tests.support.commands import Run, run_here
from tests.support.fork_server import forked_pipeline

MARKER = "zebrafinch"
GOOD = "id,text,label\n" + "".join(f"{n},a fine film number {n},pos\nb{n},a dull film number {n},neg\n" for n in range(30))
SETTINGS = '[train]\narch = "nbsvm"\n'


@pytest.fixture(autouse=True)
def _forked_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.night.step.COMMAND", forked_pipeline())


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a few reviews and no model."""
    root = tmp_path_factory.mktemp("lake") / "lake"
    (root / "raw").mkdir(parents=True)
    (root / "raw" / "good.csv").write_text(GOOD)
    (root / "pipeline.toml").write_text(SETTINGS)
    assert run_here("--lake", root, "ingest").code == 0
    return root


@pytest.fixture
def lake(ingested: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ingested, tmp_path / "lake"))


def deliveries() -> Iterator[tuple[str, str, str]]:
    """Bad files by name, content, and a part of the line that a person gets."""
    text = f"the {MARKER} said so"
    yield "rows.csv", GOOD + f'"{MARKER}","{text}",pos,{MARKER}\n', "malformed_row"
    yield "labels.csv", GOOD + f"{MARKER},{text},{MARKER}\n", "labels are unknown to the lake"
    yield "headerless.csv", f"{MARKER},{text},{MARKER}\n" * 3, "headerless.csv"
    yield "only.csv", f"id,text,label\n{MARKER},{text},{MARKER},{MARKER}\n" * 200, "failed with exit code 65"
    yield "objects.jsonl", f'{{"{MARKER}": "{text}"}}\n' * 3, "objects.jsonl"
    yield "torn.json", f'[{{"text": "{text}", "label": "{MARKER}"}}, {{"text": "{MARKER}', "torn.json"
    yield "brackets.jsonl", f"{text}\n" * 3 + f'{{"text": ["{MARKER}"], "label": {{"{MARKER}": 1}}}}\n', "brackets.jsonl"
    yield "quotes.csv", GOOD + f'{MARKER},"{text},pos\n' * 40, "unclosed_quote"
    yield "twice.csv", f"id,text,text,label\n{MARKER},{text},{text},{MARKER}\n", "twice.csv"
    yield "words.parquet", text * 100, "words.parquet"
    yield "latin.csv", GOOD + f"{MARKER},caf\\xe9 {text},pos\n", "not UTF-8"
    yield "ids.csv", GOOD + f"{MARKER},{text},pos\n{MARKER},{text} again,pos\n", "duplicate_id"


SOON_READ = ("rows.csv", "only.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [pytest.param(*case, marks=[] if case[0] in SOON_READ else [pytest.mark.slow]) for case in deliveries()],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("place", [pytest.param("raw", marks=pytest.mark.slow), "incoming"])
def test_no_line_holds_a_customers_text(lake: Path, command: Run, name: str, content: str, said: str, place: str) -> None:
    (lake / place).mkdir(exist_ok=True)
    (lake / place / name).write_bytes(content.replace("\\xe9", "\udce9").encode("utf-8", "surrogateescape"))
    if said == "duplicate_id":
        (lake / "pipeline.toml").write_text(f'{SETTINGS}[ingest]\nid-column = "id"\n')
    done = command("--lake", lake, "nightly", "--retrain", "always" if place == "incoming" else "never")
    attention = done.receipt["metrics"]["attention"]
    record = json.loads((lake / "runs" / f"{done.receipt['run_id']}.json").read_text())
    assert record["receipt"]["metrics"]["attention"] == attention == done.stderr.splitlines()
    assert MARKER not in done.stderr
    assert MARKER not in (record["error"] or "")
    if place == "raw":
        assert said in done.stderr
    for path in (lake / "runs").glob("*.json"):
        found = json.loads(path.read_text())
        assert MARKER not in (found.get("error_brief") or "")
        assert MARKER not in json.dumps(list(found.get("warning_briefs", {}).values()))


def test_an_empty_delivery_is_told_once(lake: Path, command: Run) -> None:
    (lake / "raw" / "late.csv").touch()
    done = command("--lake", lake, "nightly", "--retrain", "never")
    (line,) = done.receipt["metrics"]["attention"]
    assert line == "ingest: warning: raw/late.csv: empty (0 bytes), without a header or reviews. Check that writing finished"
    again = command("--lake", lake, "nightly", "--retrain", "never")
    assert (done.code, again.code, again.receipt["metrics"]["attention"]) == (99, 99, [])


def test_labels_that_fail_a_training_are_not_named(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one.csv").write_text(f"text,label\n{MARKER} is fine,{MARKER}\nso is that,{MARKER}\n")
    done = command("--lake", tmp_path, "nightly")
    assert done.code == 65
    assert "train: failed with exit code 65: the reviews have one class only; a classifier needs two" in done.stderr
    assert MARKER not in done.stderr


def test_a_name_of_a_file_cannot_forge_a_line(lake: Path, command: Run) -> None:
    (lake / "raw" / "evil\n\x1b[2J.tar.gz").write_bytes(b"\x1f\x8b no archive")
    done = command("--lake", lake, "nightly", "--retrain", "never")
    assert done.stderr == "ingest: 1 file skipped as unreadable, the first: raw/evil\\n\\x1b[2J.tar.gz (damaged)\n"


def test_the_newest_logs_are_kept(lake: Path, command: Run) -> None:
    logs = lake / "logs"
    logs.mkdir()
    old = [f"2026010{day}T021500.000Z.log" for day in range(1, 6)]
    for name in [*old, "notes.log"]:
        (logs / name).touch()
    done = command("--lake", lake, "nightly", "--retrain", "never", "--keep-logs", 3)
    new = Path(done.receipt["metrics"]["log"]).name
    assert sorted(path.name for path in logs.iterdir()) == [*old[3:], new, "notes.log"]


def test_the_log_can_be_lines_of_json(lake: Path, command: Run) -> None:
    (lake / "raw" / "broken.tar.gz").write_bytes(b"\x1f\x8b no archive")
    (lake / "pipeline.toml").write_text('[train]\narch = "nbsvn"\n')
    done = command("--lake", lake, "--log-format", "json", "nightly")
    lines = [json.loads(line) for line in Path(done.receipt["metrics"]["log"]).read_text().splitlines()]
    assert {"time", "level", "message"} <= set.intersection(*map(set, lines))
    assert [line["level"] for line in lines if "broken.tar.gz: the archive" in line["message"]] == ["warning"]
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert said[1]["message"].startswith("train: failed with exit code 2: ")
    assert "'nbsvn' is not known" in said[1]["message"]


def test_a_second_night_waits_for_nobody(lake: Path, command: Run) -> None:
    with locked(lake / ".locks" / "nightly.lock", "the night"):
        done = command("--lake", lake, "nightly")
    assert done.code == 75
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "is locked by another run (process " in done.stderr
    assert not (lake / "logs").exists()


def test_a_log_that_cannot_be_written_is_blamed(lake: Path, command: Run) -> None:
    (lake / "logs").write_text("in the way")
    done = command("--lake", lake, "nightly")
    assert done.code == 73
    assert f"cannot write {lake / 'logs'}" in done.stderr


def test_the_command_gets_the_receipt_when_a_person_must_know(lake: Path, command: Run, tmp_path: Path) -> None:
    mail = tmp_path / "mail"
    told = f"(cat; echo $PIPELINE_LAKE) > {mail}; echo sent >&2"
    (lake / "pipeline.toml").write_text(f"{SETTINGS}[nightly]\nretrain = 'never'\non-attention = '{told}'\n")
    assert command("--lake", lake, "nightly").code == 99
    assert not mail.exists(), "nobody must know anything"
    (lake / "raw" / "broken.tar.gz").write_bytes(b"\x1f\x8b no archive")
    done = command("--lake", lake, "nightly")
    receipt, place = mail.read_text().splitlines()
    assert json.loads(receipt)["metrics"] == done.receipt["metrics"]
    assert place == str(lake)
    assert "sent" in Path(done.receipt["metrics"]["log"]).read_text().splitlines()


@pytest.mark.parametrize(
    ("told", "said"), [("exit 3", "ended with 3"), ("sleep 60 & sleep 60", "took more than 0.5 s and was killed")]
)
def test_a_command_that_fails_is_a_line_more(
    lake: Path, command: Run, monkeypatch: pytest.MonkeyPatch, told: str, said: str
) -> None:
    monkeypatch.setattr("jobs.night.notify.TIMEOUT_SECONDS", 0.5)
    (lake / "raw" / "broken.tar.gz").write_bytes(b"\x1f\x8b no archive")
    done = command("--lake", lake, "nightly", "--retrain", "never", "--on-attention", told)
    assert done.code == 99
    assert done.stderr.splitlines()[-1].startswith(f"nightly: the command of --on-attention {said}. Log: ")


def test_the_metrics_file_is_prometheus_textfile_format(ingested: Path, tmp_path: Path, command: Run) -> None:
    lake = Path(shutil.copytree(ingested, tmp_path / 'a "quoted" \\ lake'))
    (lake / "incoming").mkdir()
    pq.write_table(pa.table({"text": ["fine film", None]}), lake / "incoming" / "new.parquet")
    done = command("--lake", lake, "nightly", "--metrics-file", tmp_path / "out" / "night.prom")
    assert done.code == 0
    text = (tmp_path / "out" / "night.prom").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        (
            sample.name.removeprefix("review_pipeline_"),
            *(v for k, v in sorted(sample.labels.items()) if k != "lake"),
        ): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert all(family.type == "gauge" and family.documentation for family in families.values())
    assert {sample.labels["lake"] for family in families.values() for sample in family.samples} == {str(lake)}
    assert values["nightly_exit_code",] == 0
    assert values["nightly_attention",] == len(done.receipt["metrics"]["attention"])
    assert values["step_rows", "read", "ingest"] == 60
    assert values["step_exit_code", "train"] == 0
    assert values["nightly_duration_seconds",] > values["step_duration_seconds", "train"] > 0
    assert abs(values["nightly_last_run_timestamp_seconds",] - (tmp_path / "out" / "night.prom").stat().st_mtime) < 60
    (accuracy,) = families["review_pipeline_model_accuracy"].samples
    assert accuracy.labels["model"] == (lake / "models" / "LATEST").read_text().strip()
    assert stat.S_IMODE((tmp_path / "out" / "night.prom").stat().st_mode) & 0o400
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["night.prom"]


def test_a_metrics_file_that_cannot_be_written_is_a_line_more(lake: Path, command: Run, tmp_path: Path) -> None:
    (tmp_path / "night.prom").mkdir()
    done = command("--lake", lake, "nightly", "--retrain", "never", "--metrics-file", tmp_path / "night.prom")
    assert done.code == 99
    assert done.stderr.startswith(f"nightly: --metrics-file: cannot write {tmp_path / 'night.prom'}: ")
