"""What a mistyped command, option or name is answered with: what was meant, or nothing."""

from pathlib import Path

import pytest

from pipeline.errors import nearest
from tests.support.commands import run_here


@pytest.mark.parametrize(
    ("given", "known", "wanted"),
    [
        ("Review", ["review_id", "Text", "stars"], None),
        ("review", ["review_id", "Review"], "Review"),
        ("TEXT", ["Text", "next"], "Text"),
        ("txet", ["text", "other"], "text"),
        ("--arhc", ["--arch", "--force", "--nproc"], "--arch"),
        ("--wat", ["--set", "--warmup", "--width"], None),
        ("scor", ["doctor", "score"], "score"),
        ("maximum", ["max", "mean"], "max"),
        ("a", ["b"], None),
        ("", ["b"], None),
        ("text", [], None),
    ],
)
def test_the_nearest_name_or_none(given: str, known: list[str], wanted: str | None) -> None:
    assert nearest(given, known) == wanted


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("train", "--arhc", "rnn"), "No such option: --arhc. Did you mean '--arch'?"),
        (("train", "--wat"), "No such option: --wat.\n"),
        (("train", "--modle"), "No such option: --modle.\n"),
        (("scor",), "No such command 'scor'. Did you mean 'score'?"),
        (("trian",), "No such command 'trian'. Did you mean 'train'?"),
        (("xyzzy",), "No such command 'xyzzy'.\n"),
        (("runs", "shwo"), "No such command 'shwo'. Did you mean 'show'?"),
        (("train\x1b[2J",), "No such command 'train\\x1b[2J'. Did you mean 'train'?"),
    ],
)
def test_commands_and_options(arguments: tuple[str, ...], wanted: str) -> None:
    done = run_here(*arguments)
    assert done.code == 2 and wanted in done.stderr


def test_the_list_of_architectures_is_sorted_and_has_none_of_another_task(tmp_path: Path) -> None:
    done = run_here("--lake", tmp_path, "train", "--arch", "wat")
    assert done.code == 2 and "Did you mean" not in done.stderr
    listed = done.stderr.partition("Known: ")[2].partition(".")[0].split(", ")
    assert listed == sorted(listed) and "ridge" not in listed and {"bilstm", "nbsvm"} <= set(listed)
    assert "Did you mean 'ridge'?" in run_here("--lake", tmp_path, "train", "--task", "regression", "--arch", "rigde").stderr
