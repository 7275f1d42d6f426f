"""`pipeline init` and `pipeline inspect`: the way of a new user, and what cannot be read or guessed."""

import csv
import io
import json
import sys
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Run
from tests.support.reviews import write_corpus

SMALL = ("--arch", "rnn", "--epochs", 1, "--embedding-dim", 4, "--hidden-dim", 4)
ROWS = 120
WORDS = {1: "awful stale coffee", 2: "rather bitter tea", 3: "plain food", 4: "good fresh tea", 5: "wonderful crisp coffee"}
Main = Callable[..., int]


def reviews() -> list[dict[str, Any]]:
    """Reviews like Amazon's table; one text has a quoted line break."""
    rows = []
    for number in range(ROWS):
        stars = number % 5 + 1
        text = f"This was {WORDS[stars]}, box {number % 7}, and I {'would' if stars > 3 else 'would not'} buy it again."
        rows.append(
            {
                "Id": number + 1,
                "ProductId": f"B00{number % 30}",
                "UserId": f"A{number % 50}",
                "ProfileName": 'Anna "Nan" Lee' if number % 2 else "Zoë",
                "HelpfulnessNumerator": number % 3,
                "HelpfulnessDenominator": number % 4,
                "Score": stars,
                "Time": 1300000000 + number,
                "Summary": WORDS[stars],
                "Text": text.replace(", and", ',\nand "so"') if number == 7 else text,
            }
        )
    return rows


def write_csv(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8", delimiter: str = ",") -> Path:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, rows[0].keys(), delimiter=delimiter)
    table.writeheader()
    table.writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def amazon(folder: Path) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    rows = reviews()
    wanted = {
        "text-column": "Text",
        "label-column": "Score",
        "label-map": "neg=1,2 pos=4,5",
        "skip-labels": "3",
        "id-column": "Id",
        "group-column": "ProductId",
    }
    return write_csv(folder / "Reviews.csv", rows), rows, wanted


def excel(folder: Path) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    rows = [
        {
            "Nr": row["Id"],
            "Bewertung": "positiv" if row["Score"] > 3 else "negativ",
            "Rezension": f"{row['Text']} Für Käse – 5€",
        }
        for row in reviews()
    ]
    wanted = {
        "text-column": "Rezension",
        "label-column": "Bewertung",
        "id-column": "Nr",
        "delimiter": ";",
        "encoding": "cp1252",
    }
    return write_csv(folder / "Rezensionen.csv", rows, "cp1252", ";"), rows, wanted


def yelp(folder: Path) -> tuple[Path, list[dict[str, Any]], dict[str, Any]]:
    rows = [
        {
            "review_id": f"r{row['Id']:06}",
            "user_id": row["UserId"],
            "business_id": row["ProductId"],
            "stars": float(row["Score"]),
            "useful": row["Id"] % 2,
            "funny": 0,
            "cool": row["Id"] % 3,
            "text": row["Text"],
            "date": "2018-07-07 22:09:11",
        }
        for row in reviews()
    ]
    path = folder / "yelp_academic_dataset_review.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = {
        "text-column": "text",
        "label-column": "stars",
        "label-map": "neg=1,2 pos=4,5",
        "skip-labels": "3",
        "id-column": "review_id",
        "group-column": "business_id",
    }
    return path, rows, wanted


@pytest.mark.usefixtures("without_pages")
@pytest.mark.parametrize(("make", "known"), [(amazon, 96), (excel, 120), (yelp, 96)])
def test_the_way_of_a_new_user(make: Any, known: int, tmp_path: Path, command: Run) -> None:
    path, rows, wanted = make(tmp_path)
    lake = tmp_path / "lake"
    done = command("init", path, "--lake", lake)
    assert done.code == 0, done.stderr
    assert f"pipeline ingest --lake {lake}" in done.stdout
    settings = tomllib.loads((lake / "pipeline.toml").read_text())
    assert settings["ingest"] == {"source": [str(path)], **wanted}
    assert settings["score"] == {"text-column": wanted["text-column"]}

    ingested = command("ingest", "--lake", lake)
    assert ingested.code == 0, ingested.stderr
    assert (ingested.receipt["read"], ingested.receipt["written"]) == (ROWS, known)
    assert len(ingested.receipt["metrics"]["labels"]) == 2

    trained = command("train", "--lake", lake, *SMALL)
    assert trained.code == 0, trained.stderr

    new = tmp_path / "new.parquet"
    pq.write_table(pa.Table.from_pylist(rows), new)
    scored = command("score", "--lake", lake, new)
    assert scored.code == 0, scored.stderr
    table = pq.read_table(scored.receipt["outputs"]["predictions"])
    assert table.num_rows == ROWS
    assert set(table["prediction"].to_pylist()) <= set(ingested.receipt["metrics"]["labels"])


@pytest.mark.usefixtures("without_pages")
def test_a_column_of_numbers_to_predict_makes_it_a_lake_of_regression(tmp_path: Path, command: Run) -> None:
    path, _, _ = amazon(tmp_path)
    lake = tmp_path / "lake"
    done = command("init", path, "--target-column", "Score", "--lake", lake)
    assert done.code == 0, done.stderr
    settings = tomllib.loads((lake / "pipeline.toml").read_text())
    assert settings["ingest"]["target-column"] == "Score" and "label-column" not in settings["ingest"]
    assert settings["train"] == {"task": "regression"}
    assert next(line for line in done.stdout.splitlines() if line.startswith("Score")).split()[-2:] == ["target", "1"]

    assert command("ingest", "--lake", lake).receipt["written"] == ROWS
    assert command("train", "--lake", lake, "--arch", "ridge", "--linear-bits", 12).code == 0
    assert command("score", "--lake", lake, path, "--output", tmp_path / "scored.parquet").receipt["written"] == ROWS
    assert "predicted_value" in pq.read_schema(tmp_path / "scored.parquet").names
    assert command("evaluate", "--lake", lake, path).receipt["metrics"]["mae"] < 2


@pytest.mark.usefixtures("without_pages")
def test_beside_a_column_to_predict_stars_are_no_labels_unless_asked_for(tmp_path: Path, command: Run) -> None:
    rows = [{"review": row["Text"], "stars": row["Score"], "price": row["Score"] * 2.5} for row in reviews()]
    rows[5]["stars"] = "n/a"
    path, lake = write_csv(tmp_path / "stars.csv", rows), tmp_path / "lake"
    assert command("init", path, "--target-column", "price", "--lake", lake).code == 0
    assert set(tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]) == {"source", "text-column", "target-column"}
    receipt = command("ingest", "--lake", lake).receipt
    assert (receipt["written"], receipt["rejected"]) == (ROWS, 0)
    trained = command("train", "--lake", lake, "--arch", "ridge", "--linear-bits", 12, "--holdout", 0).receipt["metrics"]
    assert trained["train_rows"] + trained["valid_rows"] == ROWS

    command("init", path, "--target-column", "price", "--label-column", "stars", "--force", "--lake", lake)
    settings = tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]
    assert settings["label-column"] == "stars" and not {"label-map", "skip-labels"} & set(settings)
    given = ("--label-map", "neg=1,2 pos=4,5", "--skip-labels", "3")
    command("init", path, "--target-column", "price", *given, "--force", "--lake", lake)
    settings = tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]
    assert (settings["label-column"], settings["label-map"], settings["skip-labels"]) == ("stars", given[1], "3")


def test_inspect_shows_columns_roles_labels_and_rejects_and_writes_nothing(
    tmp_path: Path, run_main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = reviews()
    rows[3]["Text"] = ""
    path = write_csv(tmp_path / "Reviews.csv", rows)
    lake = tmp_path / "lake"
    assert run_main("inspect", path, "--lake", lake) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split() for line in lines if line}
    assert cells["Score"][1:5] == ["integer", "0%", "5", "label"]
    assert cells["ProductId"][1:5] == ["text", "0%", "30", "group"]
    assert cells["Text"][1:5] == ["text", "1%", "36", "text"]
    assert "Labels in Score: 1 (24), 2 (24), 3 (24), 4 (24), 5 (24)" in lines
    assert "Reviews: neg 48, pos 47" in lines
    assert "Rejected 1 of 120 rows" in lines and "Left out 24 of 120 rows on purpose (--skip-labels)" in lines
    assert any(line.startswith("  1 missing_text") for line in lines)
    assert not lake.exists()


def test_a_terminal_shows_the_same_words(
    tmp_path: Path, run_main: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _, _ = excel(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run_main("inspect", path) == 0
    plain = capsys.readouterr().out.split()
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run_main("inspect", path) == 0
    assert capsys.readouterr().out.split() == plain


def test_one_of_several_rejected_rows_is_called_an_example(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    rows = "".join(
        f"The film number {number} was worth every minute of it,{'pos' if number % 2 else 'neg'}\n" for number in range(60)
    )
    (tmp_path / "r.csv").write_text(f"text,label\n{rows},pos\n,neg\n")
    assert run_main("inspect", tmp_path / "r.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if "missing_text" in line)
    assert line.startswith("  2 missing_text: for example ") and line.endswith(
        "r.csv, row 60: the text is null; label 'pos'"
    )


def test_json_says_the_same(tmp_path: Path, run_main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    path, _, wanted = excel(tmp_path)
    lake = tmp_path / "lake"
    assert run_main("init", path, "--lake", lake, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["label_column"] == "Bewertung"
    assert found["labels"] == {"negativ": 72, "positiv": 48}
    assert found["files"][0]["delimiter"] == ";"
    assert found["files"][0]["encoding"] == "cp1252"
    assert found["settings"]["ingest"] == {"source": [str(path)], **wanted}
    assert found["written"] == str(lake / "pipeline.toml")


def test_settings_that_are_there_are_kept_without_force(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path, _, wanted = amazon(tmp_path)
    lake = tmp_path / "lake"
    lake.mkdir()
    before = '[ingest]\ntext-column = "old"\nmax-bad = "1%"\n[train]\nepochs = 3\n'
    (lake / "pipeline.toml").write_text(before)
    assert run_main("init", path, "--lake", lake) == 2
    assert "--force" in capsys.readouterr().err
    assert (lake / "pipeline.toml").read_text() == before
    assert run_main("init", path, "nope.csv", "--lake", lake) == 2
    told = capsys.readouterr().err
    assert "pipeline.toml already exists. Edit it" in told and "Besides: no such file or folder: nope.csv." in told
    assert run_main("init", path, "--lake", lake, "--force") == 0
    settings = tomllib.loads((lake / "pipeline.toml").read_text())
    assert settings["ingest"] == {"max-bad": "1%", "source": [str(path)], **wanted}
    assert settings["train"] == {"epochs": 3}


def test_named_columns_are_written(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path, _, _ = amazon(tmp_path)
    lake = tmp_path / "lake"
    options = ("--text-column", "Summary,Text", "--label-map", "bad=1..3 good=4..5", "--group-column", "UserId")
    assert run_main("init", path, "--lake", lake, *options) == 0
    assert "Reviews: bad 72, good 48" in capsys.readouterr().out
    settings = tomllib.loads((lake / "pipeline.toml").read_text())
    assert settings["ingest"]["text-column"] == ["Summary", "Text"]
    assert settings["ingest"]["label-map"] == "bad=1..3 good=4..5"
    assert settings["ingest"]["group-column"] == "UserId"
    assert run_main("ingest", "--lake", lake, "--dry-run") == 0


def test_a_dialect_that_is_named_is_written_even_where_it_is_usual(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path, _, _ = amazon(tmp_path)
    lake = tmp_path / "lake"
    assert run_main("init", path, "--lake", lake, "--encoding", "utf-8", "--quote", '"') == 0
    settings = tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]
    assert (settings["encoding"], settings["quote"]) == ("utf-8", '"')
    assert "delimiter" not in settings


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path, _, _ = amazon(tmp_path)
    assert run_main("init", path, "--lake", tmp_path / "lake", "--label-column", "score") == 65
    assert "Did you mean 'Score'?" in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


def test_files_that_cannot_be_read_are_named_and_the_others_are_looked_at(
    tmp_path: Path, run_main: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = amazon(tmp_path)
    (tmp_path / "broken.parquet").write_text("hello")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    assert run_main("inspect", path, tmp_path / "broken.parquet", tmp_path / "sheet.xlsx") == 0
    shown = capsys.readouterr().out
    assert "sheet.xlsx: unsupported file type. Save the sheet as CSV." in shown
    assert "broken.parquet: cannot be read as parquet" in shown
    assert "Rejected 0 of 120 rows" in shown and "Left out 24 of 120 rows on purpose" in shown


@pytest.mark.parametrize("command", ["inspect", "init"])
def test_where_nothing_can_be_read_the_command_ends_with_65(
    command: str, tmp_path: Path, run_main: Main, capsys: Any
) -> None:
    (tmp_path / "broken.parquet").write_text("hello")
    assert run_main(command, tmp_path / "broken.parquet", "--lake", tmp_path / "lake") == 65
    assert "broken.parquet" in capsys.readouterr().err
    assert run_main(command, tmp_path / "nowhere.csv", "--lake", tmp_path / "lake") == 66
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("command", ["inspect", "init"])
def test_a_table_that_is_called_json_is_refused_and_its_own_name_reads_it(
    command: str, tmp_path: Path, run_main: Main, capsys: Any
) -> None:
    path, _, _ = amazon(tmp_path)
    path = path.rename(tmp_path / "Reviews.json")
    assert run_main(command, path, "--lake", tmp_path / "lake") == 65
    assert "Reviews.json: no object can be read; the first fault: " in capsys.readouterr().err
    path = path.rename(tmp_path / "Reviews.csv")
    assert run_main(command, path, "--lake", tmp_path / "lake") == 0


def test_a_table_without_names_of_columns_is_refused_and_naming_the_column_reads_it(
    tmp_path: Path, run_main: Main, capsys: Any
) -> None:
    path = tmp_path / "noheader.csv"
    path.write_text("".join(f"{'pos' if n % 2 else 'neg'},A film that took {n} hours\n" for n in range(20)))
    assert run_main("init", path, "--lake", tmp_path / "lake") == 65
    assert "--text-column" in capsys.readouterr().err
    path.write_text("verdict,review\n" + path.read_text())
    assert run_main("init", path, "--lake", tmp_path / "lake") == 0


def test_a_column_that_is_there_twice_is_refused_and_renaming_it_helps(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"A film that took {n} hours,{n % 2},x\n" for n in range(20))
    path.write_text(f"text,label,text\n{rows}")
    assert run_main("inspect", path) == 65
    assert "has 'text' twice" in capsys.readouterr().err
    path.write_text(f"text,label,other\n{rows}")
    assert run_main("inspect", path) == 0


def test_names_that_look_like_a_row_are_taken_where_the_text_column_is_named(
    tmp_path: Path, run_main: Main, capsys: Any
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("pos,review\n" + "".join(f"{'pos' if n % 2 else 'neg'},A film that took {n} hours\n" for n in range(20)))
    assert run_main("init", path, "--lake", tmp_path / "lake") == 65
    assert "--text-column" in capsys.readouterr().err
    assert run_main("init", path, "--lake", tmp_path / "lake", "--text-column", "review") == 0
    assert "Reviews: neg 10, pos 10" in capsys.readouterr().out


def test_classes_of_ranges_where_a_score_has_many_values(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    rows = [{"score": number, "review": f"A film of {number} points"} for number in range(100)]
    path = write_csv(tmp_path / "a.csv", rows)
    assert run_main("inspect", path) == 0
    assert "use --label-column score --label-map 'neg=LOW..HIGH pos=LOW..HIGH'" in capsys.readouterr().out
    assert run_main("inspect", path, "--label-column", "score", "--label-map", "neg=0..39 pos=70..99") == 0
    assert "Reviews: neg 40, pos 30" in capsys.readouterr().out


def test_without_a_file_the_lakes_raw_folder_is_looked_at(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    lake = tmp_path / "lake"
    assert run_main("init", "--lake", lake) == 66
    (lake / "raw").mkdir(parents=True)
    path, _, _ = yelp(tmp_path)
    packed = pa.CompressedOutputStream(str(lake / "raw" / "part.jsonl.gz"), "gzip")
    packed.write(path.read_bytes())
    packed.close()
    assert run_main("init", "--lake", lake) == 0
    assert tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]["source"] == ["raw"]
    assert run_main("ingest", "--lake", lake, "--dry-run") == 0


def test_globs_are_written_as_they_are(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    amazon(tmp_path)
    lake = tmp_path / "lake"
    assert run_main("init", tmp_path / "*.csv", "--lake", lake) == 0
    assert tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]["source"] == [str(tmp_path / "*.csv")]
    assert run_main("ingest", "--lake", lake, "--dry-run") == 0


def test_a_table_that_is_called_txt_is_refused_and_the_format_reads_it(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path, _, _ = excel(tmp_path)
    path = path.rename(tmp_path / "export.txt")
    lake = tmp_path / "lake"
    assert run_main("init", path, "--lake", lake) == 65
    assert "--format csv" in capsys.readouterr().err
    assert run_main("init", path, "--lake", lake, "--format", "csv") == 0
    assert tomllib.loads((lake / "pipeline.toml").read_text())["ingest"]["format"] == "csv"
    assert run_main("ingest", "--lake", lake, "--dry-run") == 0


def test_a_table_without_rows_gives_nothing_to_guess_from(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    (tmp_path / "empty.csv").write_text("text,label\n")
    assert run_main("inspect", tmp_path / "empty.csv") == 0
    assert "no rows" in capsys.readouterr().out
    assert run_main("init", tmp_path / "empty.csv", "--lake", tmp_path / "lake") == 65
    assert "no rows to guess from" in capsys.readouterr().err


def test_a_table_without_labels_says_what_to_name(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    rows = [{"Text": row["Text"], "Time": row["Time"]} for row in reviews()]
    lake = tmp_path / "lake"
    assert run_main("init", write_csv(tmp_path / "a.csv", rows), "--lake", lake) == 0
    shown = capsys.readouterr().out
    assert "--label-column" in shown
    assert "pipeline train" not in shown
    assert "label-column" not in (lake / "pipeline.toml").read_text()


def test_a_file_that_ingest_would_stop_at_is_told(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path = tmp_path / "ragged.csv"
    path.write_text("text,label\n" + "fine film,pos\nsad film,neg\n" * 10 + "cut,off,here\n" * 3)
    assert run_main("inspect", path) == 0
    assert "3 of 23 rows are malformed" in capsys.readouterr().out
    assert run_main("init", path, "--lake", tmp_path / "lake") == 0
    assert capsys.readouterr().out.endswith("/lake/pipeline.toml.\n"), "an ingest that fails is no next step"
    assert run_main("ingest", path, "--lake", tmp_path / "lake") == 65
    assert run_main("ingest", path, "--lake", tmp_path / "lake", "--max-bad", "20%") == 0


def test_reviews_in_files_of_their_own_need_no_columns(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    lake = tmp_path / "lake"
    assert run_main("init", corpus, "--lake", lake) == 0
    shown = capsys.readouterr().out
    assert "Reviews: neg 60, pos 60; 10 without a label" in shown
    assert "Splits: train 60, test 60, unsup 10" in shown
    assert tomllib.loads((lake / "pipeline.toml").read_text()) == {"ingest": {"source": [str(corpus)]}}


def test_only_the_beginning_of_a_file_is_looked_at(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(write_corpus(tmp_path / "corpus") / "aclImdb", "aclImdb")
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"text": f"film {n}", "label": n % 2}) + "\n" for n in range(5000)))
    assert run_main("inspect", path, tmp_path / "all.tar", "--rows", 1000, "--json") == 0
    files = {Path(file["file"]).name: file for file in json.loads(capsys.readouterr().out)["files"]}
    assert files["many.jsonl"]["rows"] < 3000
    assert not files["many.jsonl"]["whole"]
    assert files["all.tar"]["rows"] == 130
    assert files["all.tar"]["whole"]


def test_control_characters_are_escaped(tmp_path: Path, run_main: Main, capsys: Any) -> None:
    path = tmp_path / "a\x1b[2J.csv"
    rows = [{"te\x1bxt": f"\x1b]0;mine\x07 fine film {n}", "label": f"p\x1b{n % 2}"} for n in range(10)]
    write_csv(path, rows)
    for options in ((), ("--json",)):
        assert run_main("inspect", path, *options) == 0
        shown = capsys.readouterr()
        assert "\x1b" not in shown.out + shown.err
        assert "\x07" not in shown.out
