"""`pipeline score` on the command line: receipts, exit codes, streams, signals."""

import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Run
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT
from tests.support.scoring import ADDED, make_bundle, make_lake, make_texts


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path / "lake")


def write(path: Path, count: int) -> Path:
    pq.write_table(pa.table({"text": make_texts(min(count, 2000)) * max(1, count // 2000)}), path)
    return path


def test_the_receipt_is_the_last_line_and_the_second_run_ends_with_99(pipeline: Run, lake: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", 30)
    first = pipeline("score", source, "--lake", lake)
    assert first.code == 0, first.stderr
    assert (first.receipt["read"], first.receipt["written"]) == (30, 30)
    assert first.receipt["outputs"] == {"predictions": str(lake / "predictions" / "in.parquet"), "model": "first"}
    second = pipeline("score", source, "--lake", lake)
    assert (second.code, second.receipt["known"], second.receipt["written"]) == (99, 30, 0)
    assert "Error" not in first.stderr + second.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.parquet"], 66, "no such file or folder: absent.parquet"),
        (["inn.parquet"], 66, "Did you mean 'in.parquet'?"),
        (["in.parquet", "--text-column", "txt"], 65, "no column 'txt'. Did you mean 'text'? Its columns: 'text'"),
        (["in.parquet", "--model", "frist"], 66, "Did you mean 'first'?"),
        (["in.parquet", "--device", "gpu"], 2, "--device: 'gpu' is not known"),
        (["in.parquet", "--output", "in.parquet"], 2, "never changes"),
        (["in.parquet", "--batch-size", "0"], 2, "--batch-size 0: expected 1 or more"),
        (["in.parquet", "--batch-size", "many"], 2, "--batch-size many: expected a whole number, 1 or more."),
        (["in.parquet", "--abstain-below", "70%"], 2, "--abstain-below 70%: expected a number from 0 to 1, such as 0.8."),
        (["-", "in.parquet", "-", "--output", "out.csv"], 2, "stdin can only be read once"),
        (["in.parquet", "--output", "/proc/out.csv"], 73, "cannot write /proc/"),
    ],
)
def test_a_mistake_is_one_message_without_a_traceback(
    command: Run, lake: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    write(tmp_path / "in.parquet", 3)
    outcome = command("score", *arguments, "--lake", lake, cwd=tmp_path)
    assert outcome.code == code
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (lake / "predictions").exists()


def test_sigterm_leaves_nothing_half_written(lake: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", 400_000)
    command = [*forked_pipeline(), "score", source, "--lake", lake]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((lake / "predictions").glob(".tmp-*")):
        assert child.poll() is None and time.monotonic() < deadline, "the run ended before it could be stopped"
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGTERM)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == 143, stderr.decode()
    assert "Traceback" not in stderr.decode()
    assert list((lake / "predictions").iterdir()) == []


def test_a_killed_run_over_a_folder_leaves_finished_outputs_and_the_next_goes_on(
    pipeline: Run, lake: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        write(tmp_path / "in" / f"{number}.parquet", 40_000)
    command = [sys.executable, "-m", "pipeline", "score", tmp_path / "in", "--lake", lake]  # which is killed itself
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT)
    folder = lake / "predictions" / "in"
    deadline = time.monotonic() + 120
    while len(list(folder.glob("[0-9]*"))) < 2:
        assert child.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.01)
    child.kill()
    child.wait()
    finished = {path: path.stat().st_ino for path in folder.glob("[0-9]*")}
    assert 2 <= len(finished) < 6
    again = pipeline("score", tmp_path / "in", "--lake", lake)
    assert (again.code, again.receipt["metrics"]["inputs"]["scored"]) == (0, 6 - len(finished)), again.stderr
    assert (again.receipt["written"], again.receipt["known"]) == (40_000 * (6 - len(finished)), 40_000 * len(finished))
    assert {path: path.stat().st_ino for path in finished} == finished
    assert sorted(path.name for path in folder.iterdir()) == [f"{number}.parquet" for number in range(6)]
    assert sorted(path.name for path in folder.parent.iterdir()) == [".notes", "in"]


def test_rescore_may_be_set_for_a_lake(command: Run, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet", 5)
    assert command("score", tmp_path / "in", "--lake", lake).code == 0
    make_bundle(lake / "models" / "second", seed=1)
    (lake / "models" / "LATEST").write_text("second\n")
    kept = command("score", tmp_path / "in", "--lake", lake)
    assert kept.code == 99
    assert "1 inputs keep the predictions of an earlier model; --rescore all scores them again" in kept.stderr
    (lake / "pipeline.toml").write_text('[score]\nrescore = "all"\n')
    assert command("score", tmp_path / "in", "--lake", lake).receipt["metrics"]["inputs"]["scored"] == 1
    assert command("score", tmp_path / "in", "--lake", lake).code == 99


@pytest.mark.parametrize(
    ("lines", "format"),
    [
        ('"id";"text"\n1;good film\n2;dull\n', "csv"),
        ("id,text,label\n1,good film,\n2,dull,\n", "csv"),
        ('{"text": "good film"}\n{"text": "dull"}\n', "jsonl"),
        ("this text, as it were, is a review\ngood film\n", None),
        ("text\n", None),
    ],
)
def test_a_table_on_stdin_is_not_taken_for_reviews_in_silence(
    pipeline: Run, lake: Path, lines: str, format: str | None
) -> None:
    done = pipeline("score", "-", "--lake", lake, stdin=lines)
    remedy = re.search(r"If it is a table, add (--format \w+)", done.stderr)
    assert done.code == 0 and (remedy[1].split()[1] if remedy else None) == format
    if remedy:
        done = pipeline("score", "-", "--lake", lake, *remedy[1].split(), stdin=lines)
        assert done.code == 0 and "If it is a table" not in done.stderr
        assert [line for line in done.stdout.splitlines() if "good film" in line or "dull" in line]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_bundle_that_was_replaced_in_its_place_scores_again(command: Run, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet", 5)
    deployed, lake = tmp_path / "deployed", tmp_path / "lake"
    inputs = (tmp_path / "in", tmp_path / "in" / "a.parquet")

    def codes() -> list[int]:
        options = ("--model", deployed, "--lake", lake, "--output-format", suffix)
        return [command("score", place, *options).code for place in inputs]

    make_bundle(deployed)
    assert codes() == [0, 0] and codes() == [99, 99]
    shutil.rmtree(deployed)
    make_bundle(deployed, seed=1)
    assert codes() == [0, 0] and codes() == [99, 99]


def test_help_shows_defaults_and_an_example(command: Run) -> None:
    shown = " ".join(command("score", "--help").stdout.split())
    assert "Example: pipeline score" in shown
    for default in ("[default: LATEST]", "[default: text]", "[default: all]", "[default: 64]", "[default: auto]"):
        assert default in shown, default


def test_stdin_is_a_review_a_line_and_data_alone_goes_to_stdout(pipeline: Run, lake: Path) -> None:
    done = pipeline("score", "-", "--lake", lake, stdin="good film\n\nzyx\nbad, dull story")
    assert done.code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["text"] for row in rows] == ["good film", "", "zyx", "bad, dull story"]
    assert [row["unscored_reason"] for row in rows] == [None, "no_text", "no_known_token", None]
    receipt = json.loads(done.stderr.splitlines()[-1])
    assert (receipt["read"], receipt["written"], receipt["outputs"]["predictions"]) == (4, 4, "-")
    assert not (lake / "predictions").exists()
    again = pipeline("score", "-", "--lake", lake, stdin="good film\n\nzyx\nbad, dull story")
    assert (again.code, again.stdout) == (0, done.stdout)


def test_stdin_may_be_a_table(command: Run, lake: Path) -> None:
    table = 'id,body\n007,"good, really"\n8,bad film\n'
    options = ("score", "-", "--format", "csv", "--text-column", "body", "--output", "-", "--output-format", "csv")
    done = command(*options, "--lake", lake, stdin=table)
    assert done.code == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [(row["id"], row["body"]) for row in rows] == [("007", "good, really"), ("8", "bad film")]
    assert all(row["prediction"] in ("neg", "pos") for row in rows)


def test_who_reads_stdout_may_stop(lake: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", 20_000)
    command = (
        f"{shlex.join(forked_pipeline())} -q score {source} --lake {lake} --output - | head -c 100; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].endswith("0"), done.stderr
    assert "Error" not in done.stderr


def test_text_is_answered_in_a_line_and_leaves_nothing_behind(command: Run, lake: Path) -> None:
    before = sorted(lake.rglob("*"))
    texts = ("good film", "", "zyx", "bad\x1b[31m\nstory")
    done = command("score", *(part for text in texts for part in ("--text", text)), "--lake", lake)
    assert done.code == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[2] for line in lines] == ["good film", "", "zyx", "bad\\x1b[31m\\nstory"]
    assert all(line[0] in ("neg", "pos") and 0.5 <= float(line[1]) <= 1 for line in (lines[0], lines[3]))
    assert [line[3] for line in lines[1:3]] == ["(no_text)", "(no_known_token)"]
    assert sorted(lake.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.parquet", "--output", "out.txt"], "unknown suffix. Supported: .parquet, .csv, .jsonl"),
        (["in.parquet", "--output", "out.csv", "--output-format", "jsonl"], "contradict each other"),
        (
            ["in.parquet", "--output", "out.parquet.gz"],
            "Parquet is compressed internally. Use a name that ends in .parquet.",
        ),
        (["in.parquet", "--text", "good"], "--text cannot be combined with INPUT or --output"),
        ([], "nothing to score. Pass files, folders or globs, - for stdin, or a review with --text."),
        (["in.parquet", "-"], "Name the output with --output FILE."),
        (["in.parquet", "--rescore", "some"], "Known: "),
        (["in.xlsx"], "Save the sheet as CSV."),
    ],
)
def test_places_that_make_no_sense_are_refused(
    command: Run, lake: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write(tmp_path / "in.parquet", 3)
    (tmp_path / "in.xlsx").write_bytes(b"PK")
    outcome = command("score", *arguments, "--lake", lake, cwd=tmp_path)
    assert outcome.code == 2
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (lake / "predictions").exists()


def test_lines_have_no_columns_whatever_the_lakes_settings_say(command: Run, lake: Path) -> None:
    (lake / "pipeline.toml").write_text('[score]\ntext-column = "Text"\n')
    done = command("score", "-", "--lake", lake, stdin="good film\nbad, dull story\n")
    assert done.code == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_sentences_are_explained_and_given_as_json(pipeline: Run, lake: Path) -> None:
    texts = make_texts(2)
    command = ("score", "--text", texts[0], "--text", texts[1], "--text", " ", "--explain", "--lake", lake)
    lines = [line.split("\t") for line in pipeline(*command).stdout.splitlines()]
    assert [line[2] for line in lines] == [*texts, " "]
    assert all(part[0] in "+-" for line in lines[:2] for part in line[3].split()[1::2])
    assert lines[2][3] == "(no_text)"
    answers = [json.loads(line) for line in pipeline(*command, "--json").stdout.splitlines()]
    assert [answer["text"] for answer in answers] == [*texts, " "]
    assert {part["token"] for part in answers[0]["explanation"]} <= set(texts[0].lower().split()) | {"<unk>"}
    assert answers[2]["prediction"] is None and answers[2]["unscored_reason"] == "no_text"
    assert list(answers[0]) == ["text", *ADDED, "explanation"]
    assert answers[0]["probability"] == answers[0][f"probability_{answers[0]['prediction']}"]


def test_an_empty_file_is_warned_of(pipeline: Run, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    done = pipeline("score", tmp_path / "empty.csv", "--output", tmp_path / "out.csv", "--lake", lake)
    assert (done.code, done.receipt["written"]) == (0, 0)
    assert "empty.csv: empty (0 bytes), without a header or reviews" in done.stderr
    done = pipeline("score", "-", "--lake", lake, stdin="")
    assert (done.code, done.stdout) == (0, "") and "standard input is empty (0 bytes)" in done.stderr
    assert "standard input" not in pipeline("score", "-", "--lake", lake, stdin="good film\n").stderr


def test_a_list_may_be_given_in_one_option_or_in_several(pipeline: Run, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("Unnamed: 0,Preis €,title,text\n1,2,one,good\n")
    keep = ["--keep", "Unnamed: 0", "--keep", "Preis €,title"]
    done = pipeline("score", tmp_path / "in.csv", *keep, "--output", tmp_path / "out.csv", "--lake", lake)
    assert done.code == 0, done.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file))[:3] == ["Unnamed: 0", "Preis €", "title"]
    joined = ["--text-column", "title", "--text-column", "body", "--lake", lake]
    refused = pipeline("score", tmp_path / "in.csv", *joined)
    assert refused.code == 65 and "no column 'body'" in refused.stderr


def test_the_columns_to_keep_are_quoted_for_the_shell(pipeline: Run, lake: Path, tmp_path: Path) -> None:
    (tmp_path / "in file.csv").write_text("Unnamed: 0,Sterne (1-5),text\n1,2,good\n")
    scored = tmp_path / "scored.csv"
    assert pipeline("score", tmp_path / "in file.csv", "--output", scored, "--lake", lake).code == 0
    refused = pipeline("score", scored, "--lake", lake)
    assert refused.code == 2
    words = shlex.split(refused.stderr[refused.stderr.index("--keep") : refused.stderr.index(", or rename them")])
    assert pipeline("score", scored, *words, "--lake", lake).code == 0
