"""What outsiders wrote, shown without its control characters: pure functions, log lines and progress."""

import io
import json
import logging
import os
import select
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.printable import PrintableFormatter, printable, printable_json, printable_lines, show_as, shown
from pipeline.progress import track

UNSAFE = {
    "clear the screen": ("a\x1b[2Jb", r"a\x1b[2Jb"),
    "retitle the window": ("\x1b]0;mine\x07", r"\x1b]0;mine\x07"),
    "C1 introducer": ("\x9b31m", r"\u009b31m"),
    "line breaks": ("a\nb\rc\u2028d\x85e\vf", r"a\nb\rc\u2028d\u0085e\x0bf"),
    "tab, NUL and DEL": ("a\tb\0c\x7f", r"a\tb\x00c\x7f"),
    "text turned round": ("txt\u202egpj.exe\u2066\u200f", r"txt\u202egpj.exe\u2066\u200f"),
    "a byte that is not UTF-8": (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
    "another lone surrogate": ("\ud800x", r"\ud800x"),
}
SAFE = ["plain", "naïve — “quoted”", "日本語", "فيلم", "👨‍👩‍👧‍👦", "می‌خواهم", r"back\slash", "[red]"]

anything = st.text(st.characters())


def is_safe(text: str) -> bool:
    text.encode()
    return not any(
        ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029\u202d\u202e\u2066\u2067\u2068\u2069" for c in text
    )


@pytest.mark.parametrize("kind", UNSAFE)
def test_unsafe_characters_are_escaped(kind: str) -> None:
    text, shown = UNSAFE[kind]
    assert printable(text) == shown


@pytest.mark.parametrize("text", SAFE)
def test_everything_else_stays(text: str) -> None:
    assert printable(text) == text


@given(text=anything)
def test_the_result_is_one_safe_line_and_stays_as_it_is(text: str) -> None:
    assert is_safe(printable(text)) and printable(printable(text)) == printable(text)
    assert printable_lines(text) == "\n".join(map(printable, text.split("\n")))


@given(
    value=st.recursive(anything, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3))
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_means_the_same(value: object, indent: int | None) -> None:
    document = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
    assert json.loads(document) == value
    assert all(map(is_safe, document.split("\n")))


@pytest.fixture
def logged() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream


def test_a_log_line_escapes_its_arguments_and_keeps_the_lines_of_its_message(logged) -> None:
    logger, stream = logged
    logger.warning("%s of %d rows:\n  %s", "a\x1b[31m\nERROR forged", 3, Path("b\nc"))
    logger.warning("%(name)s %(share).1f", {"name": "d\ne", "share": 0.5})
    logger.warning(ValueError("f\ng"))
    logger.warning("raw \x1b[0m %s", ["h\ni"])
    assert stream.getvalue().splitlines() == [
        r"WARNING a\x1b[31m\nERROR forged of 3 rows:",
        r"  b\nc",
        r"WARNING d\ne 0.5",
        r"WARNING f\ng",
        r"WARNING raw \x1b[0m ['h\ni']",
    ]


def test_a_traceback_keeps_its_lines(logged) -> None:
    logger, stream = logged
    try:
        raise ValueError("bad \x1b[31mname")
    except ValueError:
        logger.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["ERROR it failed", "Traceback (most recent call last):"]
    assert lines[-1] == r"ValueError: bad \x1b[31mname"


def test_the_record_itself_is_left_to_other_handlers(logged) -> None:
    record = logging.LogRecord("test", logging.INFO, "", 0, "%s", ("a\nb",), None)
    PrintableFormatter().format(record)
    assert record.getMessage() == "a\nb"


def test_a_progress_bar_shows_names_as_they_are_and_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with track("read \x1b]0;mine\x07\n[red]", 2, "rows [x]") as progress:
            progress.advance(1, file="\x1b[2J[y]")
        monkeypatch.undo()
        screen = b""
        while b"1/2" not in screen or select.select([ours], [], [], 0.2)[0]:
            screen += os.read(ours, 1 << 16)
    os.close(ours)
    shown = screen.decode()
    assert r"\x1b]0;mine\x07\n[red]" in shown and "rows [x]" in shown and r"\x1b[2J[y]" in shown
    assert "\x1b]0;mine" not in shown and "\x1b[2J" not in shown


def test_a_folder_in_a_folder_is_shown_by_its_own_name(tmp_path: Path) -> None:
    show_as(tmp_path, "s3://bucket/lake")
    show_as(tmp_path / "fetched", "s3://other")
    assert shown(f"{tmp_path}/fetched/a.csv of {tmp_path}") == "s3://other/a.csv of s3://bucket/lake"
