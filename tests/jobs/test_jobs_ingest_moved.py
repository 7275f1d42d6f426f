"""Files without a column of IDs, whose lines move because others were inserted or removed: nothing doubles or is lost."""

import io
import random
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.retract import RetractConfig
from jobs.retract import run as retract
from pipeline.errors import DataError
from pipeline.lake.identity import content_sha256
from pipeline.lake.paths import Lake
from schemas.run import Receipt
from tests.support.commands import invoke
from tests.support.ingested import ingest, rows_of
from tests.support.tables import write_csv

HEADER, BROKEN = "text,label", "one,two,three,four"
SOON = 2
"""So many seeds of random edits are tried by default."""
FOUR = ("alpha good,pos", "beta bad,neg", "gamma fine,pos", "delta dull,neg")


def pack(archive: Path, *names: str) -> None:
    """Writes a tar archive of reviews that say what they are called."""
    with tarfile.open(archive, "w") as out:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            out.addfile(member, io.BytesIO(name.encode()))


def seeds(number: int) -> list[Any]:
    """The seeds of random edits."""
    return [pytest.param(seed, marks=pytest.mark.slow if seed >= SOON else []) for seed in range(number)]


def held(lake: Path) -> Counter[str]:
    """The contents in the table."""
    return Counter(row["content_sha256"] for row in rows_of(lake))


def contents(*lines: str) -> Counter[str]:
    """The contents of lines of a file."""
    pairs = (line.split(",") for line in lines)
    return Counter(content_sha256(text.encode(), label, None, "train", None) for text, label in pairs)


def places(lake: Path) -> dict[str, str]:
    """Review id → content."""
    return {row["review_id"]: row["content_sha256"] for row in rows_of(lake)}


def moves(receipt: Receipt) -> tuple[int, ...]:
    """Rows that were replaced, have moved, are missing, and are duplicates."""
    return tuple(receipt.metrics[name] for name in ("replaced", "moved", "missing", "duplicates"))


@pytest.mark.parametrize("dedupe", [False, True])
def test_a_line_inserted_above_a_rejected_one(tmp_path: Path, dedupe: bool) -> None:
    lines = [HEADER, *FOUR[:2], BROKEN, *FOUR[2:]]
    source = write_csv(tmp_path / "r.csv", *lines)
    ingest(tmp_path / "lake", source, dedupe=dedupe)
    write_csv(source, HEADER, "zero new,pos", *lines[1:])
    receipt = ingest(tmp_path / "lake", source, dedupe=dedupe)
    assert (receipt.read, receipt.written, receipt.rejected) == (6, 5, 1) and moves(receipt) == (3, 1, 0, 0)
    assert held(tmp_path / "lake") == contents("zero new,pos", *FOUR)
    again = ingest(tmp_path / "lake", source, dedupe=dedupe)
    assert (again.exit_code, again.known) == (99, 5) and moves(again) == (0, 0, 0, 0)


@pytest.mark.parametrize("options", [{}, {"prune": True}, {"dedupe": True}])
def test_a_line_is_removed(tmp_path: Path, options: dict[str, bool], caplog: pytest.LogCaptureFixture) -> None:
    source = write_csv(tmp_path / "r.csv", HEADER, *FOUR)
    ingest(tmp_path / "lake", source, **options)
    write_csv(source, HEADER, *FOUR[1:])
    assert moves(ingest(tmp_path / "lake", source, **options)) == (3, 1, 0, 0)
    assert held(tmp_path / "lake") == contents(*FOUR[1:])
    assert "--dedupe" not in caplog.text, "nothing was delivered twice"


def test_dedupe_does_not_lose_the_last_line_when_one_is_inserted(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", HEADER, *FOUR)
    ingest(tmp_path / "lake", source, dedupe=True)
    write_csv(source, HEADER, "zero new,pos", *FOUR)
    receipt = ingest(tmp_path / "lake", source, dedupe=True)
    assert (receipt.written, receipt.known) == (5, 0) and moves(receipt) == (4, 0, 0, 0)
    assert held(tmp_path / "lake") == contents("zero new,pos", *FOUR)


def test_dedupe_and_prune_do_not_lose_a_review_that_gets_another_id(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "id,text,label", "1,fine,pos", "2,dull,neg")
    options = {"id_column": "id", "dedupe": True, "prune": True}
    ingest(tmp_path / "lake", source, **options)
    write_csv(source, "id,text,label", "1,fine,pos", "3,dull,neg")
    receipt = ingest(tmp_path / "lake", source, **options)
    assert receipt.metrics["pruned"] == 1
    assert {row["review_id"] for row in rows_of(tmp_path / "lake")} == {"1", "3"}


def test_dedupe_declines_a_review_whose_new_content_another_one_has(tmp_path: Path) -> None:
    """The old content leaves all the same."""
    lake, source, options = tmp_path / "lake", tmp_path / "r.csv", {"id_column": "id", "dedupe": True}
    ingest(lake, write_csv(source, "id,text,label", "1,fine,pos", "2,dull,neg", "3,good,pos"), **options)
    write_csv(source, "id,text,label", "1,dull,neg", "2,dull,neg", "3,brand new,pos", "4,brand new,pos")
    receipt = ingest(lake, source, **options)
    assert (receipt.read, receipt.written, receipt.known) == (4, 1, 3) and moves(receipt) == (2, 0, 0, 2)
    assert places(lake) == dict(zip("23", contents("dull,neg", "brand new,pos"), strict=True))
    again = ingest(lake, source, **options)
    assert (again.exit_code, again.known) == (99, 4) and moves(again) == (0, 0, 0, 2)


def test_dedupe_lets_two_reviews_exchange_what_they_say(tmp_path: Path) -> None:
    lake, source, options = tmp_path / "lake", tmp_path / "r.csv", {"id_column": "id", "dedupe": True}
    ingest(lake, write_csv(source, "id,text,label", "1,fine,pos", "2,dull,neg"), **options)
    receipt = ingest(lake, write_csv(source, "id,text,label", "1,dull,neg", "2,fine,pos"), **options)
    assert (receipt.written, receipt.known) == (2, 0) and moves(receipt) == (2, 0, 0, 0)
    assert places(lake) == dict(zip("12", contents("dull,neg", "fine,pos"), strict=True))


def test_dedupe_takes_a_review_for_a_duplicate_that_has_moved_and_stands_elsewhere(tmp_path: Path) -> None:
    lake, source, other = tmp_path / "lake", tmp_path / "r.csv", write_csv(tmp_path / "o.csv", HEADER, FOUR[3])
    ingest(lake, write_csv(source, HEADER, *FOUR), other)
    receipt = ingest(lake, write_csv(source, HEADER, *FOUR[1:]), other, dedupe=True)
    assert moves(receipt) == (3, 1, 0, 1) and held(lake) == contents(*FOUR[1:])
    assert ingest(lake, source, other, prune=True, dedupe=True).exit_code == 99


def test_reviews_that_say_the_same_stay_as_many_as_they_are(tmp_path: Path) -> None:
    same = contents("good,pos", "bad,neg", "good,pos")
    source = write_csv(tmp_path / "r.csv", HEADER, "good,pos", "bad,neg", "good,pos")
    ingest(tmp_path / "lake", source)
    write_csv(source, HEADER, "good,pos", "bad,neg", BROKEN)
    receipt = ingest(tmp_path / "lake", source)
    assert moves(receipt) == (0, 0, 0, 0) and held(tmp_path / "lake") == same, "one may be the broken row"
    write_csv(source, HEADER, "good,pos", "good,pos", "bad,neg")
    assert moves(ingest(tmp_path / "lake", source)) == (2, 0, 0, 1)
    assert held(tmp_path / "lake") == same


def test_reviews_with_ids_of_their_own_do_not_move(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", "id,text,label", "1,good,pos", "2,bad,neg")
    ingest(tmp_path / "lake", source, id_column="id")
    write_csv(source, "id,text,label", "2,bad,neg", "3,good,pos")
    receipt = ingest(tmp_path / "lake", source, id_column="id")
    assert moves(receipt) == (0, 0, 1, 1)
    assert {row["review_id"] for row in rows_of(tmp_path / "lake")} == {"1", "2", "3"}


def test_the_same_text_in_another_file_moves_nothing(tmp_path: Path) -> None:
    first = write_csv(tmp_path / "a.csv", HEADER, "good,pos", "bad,neg")
    ingest(tmp_path / "lake", first)
    write_csv(first, HEADER, "good,pos")
    receipt = ingest(tmp_path / "lake", first, write_csv(tmp_path / "b.csv", HEADER, "bad,neg"))
    assert moves(receipt) == (0, 0, 1, 1) and held(tmp_path / "lake") == contents("good,pos", "bad,neg", "bad,neg")


def test_retracting_the_run_puts_the_rows_back_to_where_they_were(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", HEADER, *FOUR)
    ingest(lake, source)
    before = places(lake)
    write_csv(source, HEADER, *FOUR[1:])
    receipt = ingest(lake, source)
    assert places(lake) != before
    retract(RetractConfig(lake=lake, run=receipt.run_id))
    assert places(lake) == before
    assert DeltaTable(Lake(lake).tokens).version() == 2


def test_a_vocabulary_is_built_again_after_lines_were_removed(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", HEADER, *FOUR)
    ingest(lake, source)
    write_csv(source, HEADER, *FOUR[1:])
    with pytest.raises(DataError, match=r"--rebuild-vocab: .* 'pipeline ingest --prune'"):
        ingest(lake, source, rebuild_vocab=True)
    ingest(lake, source, prune=True)  # the remedy
    ingest(lake, source, rebuild_vocab=True)
    assert held(lake) == contents(*FOUR[1:])


@pytest.mark.parametrize("folder", ["wow!", "a.zip!"])
def test_lines_move_in_a_folder_whose_name_ends_like_an_archives(
    tmp_path: Path, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    lake = tmp_path / "lake"
    (raw := lake / "raw" / folder).mkdir(parents=True)
    source = write_csv(raw / "r.csv", HEADER, *FOUR)
    pack(raw / "old.tar", "in/one.txt", "in/two.txt")
    pack(lake / "raw" / "old.tar", "in/three.txt", "in/four.txt")
    ingest(lake)
    write_csv(source, HEADER, *FOUR[1:])
    pack(raw / "old.tar", "in/two.txt")
    pack(lake / "raw" / "old.tar", "in/four.txt")
    assert moves(ingest(lake)) == (3, 1, 2, 0)
    assert ingest(lake, prune=True).metrics["pruned"] == 2
    rows = {f"raw/{folder}/r.csv#{row}" for row in range(3)}
    assert places(lake).keys() == {*rows, f"raw/{folder}/old.tar!/in/two.txt", "raw/old.tar!/in/four.txt"}
    invoke("erase", "--yes", "--review-id", f"raw/{folder}/r.csv#0", "--lake", lake)
    assert f"raw/{folder}/r.csv still has row 0" in caplog.text


@pytest.mark.parametrize("dedupe", [False, True])
@pytest.mark.parametrize("seed", seeds(6))
def test_any_edits(tmp_path: Path, seed: int, dedupe: bool) -> None:
    """After each ingest, the table has each good line of the file as often as the file, or with `--dedupe` once; more often
    only without it, if it had it so before and the line may be one that is broken now, or that was taken out."""
    choose = random.Random(seed)
    lines, number, before = [*FOUR, "good,pos", "good,pos"], 0, Counter[str]()
    for _ in range(7):
        for _ in range(choose.randint(1, 3)):
            at = choose.randrange(len(lines) + 1)
            kind = choose.choice(["insert", "insert", "repeat", "remove", "break", "swap"])
            if kind == "insert":
                number += 1
                lines.insert(at, f"text {number},pos")
            elif kind == "repeat":
                lines.insert(at, choose.choice(lines))
            elif kind == "break":
                lines[at:at] = [BROKEN]
            elif kind == "remove" and len(lines) > 3:
                del lines[min(at, len(lines) - 1)]
            else:
                choose.shuffle(lines)
        ingest(tmp_path / "lake", write_csv(tmp_path / "r.csv", HEADER, *lines), dedupe=dedupe)
        good, table = contents(*(line for line in lines if line != BROKEN)), held(tmp_path / "lake")
        for content, count in good.items():
            assert table[content] == 1 if dedupe else count <= table[content] <= max(count, before[content])
        before = table


def retracted_second_delivery(lake: Path, source: Path, *first: str, second: tuple[str, ...]) -> None:
    """Ingests two deliveries of a growing file, and takes the second one back."""
    ingest(lake, write_csv(source, HEADER, *first))
    receipt = ingest(lake, write_csv(source, HEADER, *first, *second))
    retract(RetractConfig(lake=lake, run=receipt.run_id))
    assert held(lake) == contents(*first)


def test_a_review_like_a_retracted_one_moves(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    first, wrong = ("great,pos", "beta bad,neg", "gamma fine,pos"), ("great,pos", "zeta wrong,neg")
    retracted_second_delivery(lake, source, *first, second=wrong)
    write_csv(source, HEADER, "newest nice,pos", *first, *wrong)
    receipt = ingest(lake, source)
    assert held(lake) == contents("newest nice,pos", *first) and receipt.metrics["retracted"] == 2
    again = ingest(lake, source, prune=True)
    assert (again.exit_code, again.metrics["retracted"], again.metrics["missing"]) == (99, 2, 0)


def test_a_retracted_review_stays_out_when_one_like_it_is_edited(tmp_path: Path) -> None:
    lake, source, wrong = tmp_path / "lake", tmp_path / "r.csv", ("great,pos", "zeta wrong,neg")
    retracted_second_delivery(lake, source, "great,pos", "beta bad,neg", second=wrong)
    receipt = ingest(lake, write_csv(source, HEADER, "not great,neg", "beta bad,neg", *wrong), prune=True)
    assert held(lake) == contents("not great,neg", "beta bad,neg") and receipt.metrics["retracted"] == 2


def test_rows_move_onto_the_places_of_retracted_ones(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    retracted_second_delivery(lake, source, *FOUR, second=("eps wrong,pos", "zeta wrong,neg"))
    write_csv(source, HEADER, *FOUR[1:], "eps wrong,pos", "zeta wrong,neg")
    receipt = ingest(lake, source)
    assert moves(receipt) == (3, 1, 0, 0) and held(lake) == contents(*FOUR[1:])
    assert ingest(lake, source, prune=True).exit_code == 99


def test_retracting_a_run_that_only_moved_rows_withholds_none(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    ingest(lake, write_csv(source, HEADER, *FOUR))
    receipt = ingest(lake, write_csv(source, HEADER, *FOUR[1:]))
    retract(RetractConfig(lake=lake, run=receipt.run_id))
    assert held(lake) == contents(*FOUR)
    assert moves(ingest(lake, source, prune=True)) == (3, 1, 0, 0)
    assert held(lake) == contents(*FOUR[1:])


@pytest.mark.parametrize(
    ("erased", "after"),
    [
        (3, ("newest nice,pos", "great,pos", "beta bad,neg", "gamma fine,pos")),
        (0, ("beta bad,neg", "gamma fine,pos", "great,pos")),
        (0, ("great,pos", "newest nice,pos", "beta bad,neg", "gamma fine,pos", "great,pos")),
    ],
)
def test_a_review_like_an_erased_one_moves(tmp_path: Path, erased: int, after: tuple[str, ...]) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    ingest(lake, write_csv(source, HEADER, "great,pos", "beta bad,neg", "gamma fine,pos", "great,pos"))
    (review_id,) = (name for name in places(lake) if name.endswith(f"#{erased}"))
    invoke("erase", "--yes", "--review-id", review_id, "--lake", lake)
    for _ in range(2):
        receipt = ingest(lake, write_csv(source, HEADER, *after), prune=True)
        assert held(lake) == contents(*sorted({*after}))
    assert receipt.exit_code == 99


def test_a_run_whose_rows_have_moved_is_retracted_after_the_run_that_moved_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake, source, wrong = tmp_path / "lake", tmp_path / "r.csv", ("eps wrong,pos", "zeta wrong,neg")
    ingest(lake, write_csv(source, HEADER, *FOUR))
    bad = ingest(lake, write_csv(source, HEADER, *FOUR, *wrong))
    moved = ingest(lake, write_csv(source, HEADER, *FOUR[1:], *wrong))
    assert retract(RetractConfig(lake=lake, run=bad.run_id)).exit_code == 99
    assert "later runs replaced, moved or removed the 2 rows of this run. Retract those runs first" in caplog.text
    for run in (moved, bad):  # the remedy
        assert retract(RetractConfig(lake=lake, run=run.run_id)).exit_code == 0
    assert held(lake) == contents(*FOUR)
    ingest(lake, source)
    assert held(lake) == contents(*FOUR[1:])
    caplog.clear()
    assert retract(RetractConfig(lake=lake, run=bad.run_id)).exit_code == 99 and "Retract those runs" not in caplog.text


@pytest.mark.parametrize("seed", seeds(8))
def test_what_came_back_stays_wherever_the_retracted_line_moves(tmp_path: Path, seed: int) -> None:
    """A delivery turns labels round and is retracted; its file goes on changing around these lines."""
    choose = random.Random(seed)
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    lines = [f"text {number}" for number in range(12)]
    right = {text: choose.choice(["pos", "neg"]) for text in lines} | {"text 0": "pos", "text 1": "neg"}
    wrong = set(choose.sample(lines[2:], 3))
    other = {"pos": "neg", "neg": "pos"}

    def deliver() -> Receipt:
        labels = {text: other[right[text]] if text in wrong else right.get(text, "pos") for text in lines}
        return ingest(lake, write_csv(source, HEADER, *map(",".join, labels.items())))

    ingest(lake, write_csv(source, HEADER, *map(",".join, right.items())))
    if choose.random() < 0.7:
        lines[:1] = choose.choice([[], ["withheld", "text 0"]])
    retract(RetractConfig(lake=lake, run=deliver().run_id))
    assert held(lake) == contents(*map(",".join, right.items()))
    for number in range(1, 7):
        for _ in range(choose.randint(0, 2)):
            at = choose.randrange(len(lines))
            if choose.random() < 0.6:
                lines.insert(at, f"new {number} {len(lines)}")
            elif lines[at] not in wrong:
                del lines[at]
        receipt = deliver()
        table = held(lake)
        there = contents(*(f"{text},{right.get(text, 'pos')}" for text in lines if text != "withheld"))
        assert {content: table[content] for content in there} == there
        assert receipt.metrics["retracted"] >= len(wrong) and max(table.values()) == 1
        assert deliver().exit_code == 99


def test_a_correction_of_a_retracted_line_replaces_what_came_back(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.csv"
    ingest(lake, write_csv(source, HEADER, *FOUR))
    bad = ingest(lake, write_csv(source, HEADER, FOUR[0], "beta bad,pos", *FOUR[2:]))
    retract(RetractConfig(lake=lake, run=bad.run_id))
    receipt = ingest(lake, write_csv(source, HEADER, "zero new,pos", FOUR[0], "beta bad,pos", *FOUR[2:]))
    assert held(lake) == contents("zero new,pos", *FOUR) and moves(receipt) == (3, 2, 0, 0)
    corrected = ("zero new,pos", FOUR[0], "beta corrected,neg", *FOUR[2:])
    correction = ingest(lake, write_csv(source, HEADER, *corrected), prune=True)
    assert moves(correction) == (1, 0, 0, 0) and held(lake) == contents(*corrected)
    for run in (correction, receipt):
        retract(RetractConfig(lake=lake, run=run.run_id))
    assert held(lake) == contents(*FOUR)


def test_a_retracted_line_that_stood_for_nothing_keeps_nothing(tmp_path: Path) -> None:
    lake, source, wrong = tmp_path / "lake", tmp_path / "r.csv", "omega wrong,neg"
    ingest(lake, write_csv(source, HEADER, *FOUR))
    bad = ingest(lake, write_csv(source, HEADER, FOUR[0], wrong, *FOUR[1:]))
    retract(RetractConfig(lake=lake, run=bad.run_id))
    lines = ("zero new,pos", FOUR[0], wrong, "beta corrected,neg", *FOUR[2:])
    ingest(lake, write_csv(source, HEADER, *lines))
    assert held(lake) == contents(*(line for line in lines if line != wrong))
