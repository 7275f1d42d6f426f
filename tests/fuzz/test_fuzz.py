"""The short form of `make fuzz`, and whether its counters and checks would see a fault."""

import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pipeline.readers.csv_records import TableReader
from tests.fuzz import check as fuzz
from tests.fuzz.lines import inner_lines, lines_of_header, lines_of_json, lines_of_table
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import Seed

INPUTS = 48
PARTS = 4


@pytest.fixture(scope="module", autouse=True)
def signal_handlers() -> Iterator[None]:
    """The command line installs its own; they are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    fuzz.prepare(folder)
    return folder


@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", [pytest.param(part, marks=pytest.mark.slow if part % 2 else []) for part in range(PARTS)])
def test_damaged_deliveries_end_with_a_documented_code_and_leave_the_lake_whole(
    tmp_path: Path, prepared: Path, part: int
) -> None:
    results = [fuzz.check(prepared, tmp_path / "work", 7, number) for number in range(part, INPUTS, PARTS)]
    assert [(result.number, result.name, result.problems) for result in results if result.problems] == []
    assert {0, 65} <= {result.codes["ingest"] for result in results}


def test_the_same_seed_gives_the_same_inputs() -> None:
    inputs = [fuzz.make_input(3, number)[1] for number in range(30)]
    assert inputs == [fuzz.make_input(3, number)[1] for number in range(30)]
    assert len(set(inputs)) == 30
    assert any(mutated(b"text,label\n", Random(number)) == b"text,label\n" for number in range(100))


def test_lines_are_counted() -> None:
    content = b'\xef\xbb\xbf\n  \r\n"a\n\nb",c\r\n\r\none,1\rtwo,2\n"x\n\ny\n",3'
    lines = lines_of_table(content)
    assert lines == [b'"a', b'b",c', b"one,1", b"two,2", b'"x', b"y", b'",3']
    assert [lines_of_header(lines, ",", quote) for quote in ('"', "")] == [2, 1]
    assert [inner_lines(value) for value in (b"x\n\ny\n", b"\r\n", b"a\r\n\r\n\rb", b"one")] == [2, 1, 1, 0]
    assert lines_of_json(b"{}\n\n \r\n[\r]") == [0, 3]


class AllAllowed(Random):
    """Chooses a new lake, no ids and as many malformed rows as there are."""

    def random(self) -> float:
        return 0.5


def checked(prepared: Path, folder: Path, suffix: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> fuzz.Result:
    seed = Seed(suffix, content, bytes, suffix.lstrip("."))
    monkeypatch.setattr(fuzz, "make_input", lambda *_: (seed, content, AllAllowed()))
    return fuzz.check(prepared, folder / "work", 0, 0)


ROWS = b'text,label\nfine,pos\n"so\nso",neg\na,b,c\ndull,neg\n'


def test_a_sound_file_passes_every_check(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = checked(prepared, tmp_path, ".csv", ROWS, monkeypatch)
    assert (result.problems, result.codes) == ([], {"ingest": 0, "again": 99})


def test_a_swallowed_line_is_found(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableReader, "faults", lambda *_: iter(()))
    result = checked(prepared, tmp_path, ".csv", ROWS, monkeypatch)
    assert any("lines that are not blank" in problem for problem in result.problems)
    assert any("are not the rows" in problem for problem in result.problems)


def test_a_fault_of_ours_is_found_with_its_traceback(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("jobs.ingest.run", fail)
    failed = checked(prepared, tmp_path, ".csv", ROWS, monkeypatch)
    assert failed.codes == {"ingest": 70, "again": 70}
    assert "Traceback" in failed.problems[0]
