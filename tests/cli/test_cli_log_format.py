"""`--log-format json`: every line on stderr is an object."""

import json
import logging
from datetime import datetime
from pathlib import Path

from pipeline.printable import JsonFormatter
from tests.support.commands import Run


def test_log_lines_and_errors_are_objects(tmp_path: Path, command: Run) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "one.csv").write_text("text,label\ngood,pos\nbad,neg\none,two,three\n")
    done = command("--lake", tmp_path, "--log-format", "json", "ingest", "--max-bad", "5%")
    assert done.code == 65
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert lines[0]["message"].startswith("ingest ") and lines[0]["logger"] == "jobs.runtime"
    assert [line["level"] for line in lines if "malformed_row" in line["message"]] == ["warning", "error"]
    assert "1 of 3 rows are malformed" in lines[-1]["message"]


def test_another_format_is_refused_with_those_there_are(command: Run) -> None:
    done = command("--log-format", "jsn", "runs")
    assert done.code == 2
    assert "--log-format: 'jsn' is not known. Did you mean 'json'? Known: json, text." in done.stderr


def test_a_line_stays_one_line_and_keeps_its_traceback() -> None:
    try:
        raise ValueError("broken\nin two")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("pipeline.x", logging.ERROR, "x.py", 1, "file %s", ("a\nb\x1b[2J\u202e",), info)
    text = JsonFormatter().format(record)
    line = json.loads(text)
    assert "\n" not in text and "\x1b" not in text and "\u202e" not in text
    assert (line["level"], line["logger"], line["message"]) == ("error", "pipeline.x", "file a\\nb\\x1b[2J\\u202e")
    assert line["traceback"].endswith("ValueError: broken\nin two")
