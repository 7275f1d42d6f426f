"""The doctor on a lake's `pipeline.toml`."""

from pathlib import Path

import pytest

from tests.support.commands import Run


def said(command: Run, lake: Path) -> tuple[int, list[str]]:
    outcome = command("doctor", "--lake", lake)
    return outcome.code, [line for line in outcome.stdout.splitlines() if "pipeline.toml" in line]


def test_a_lake_without_the_file_has_no_such_line(command: Run, tmp_path: Path) -> None:
    assert said(command, tmp_path) == (0, [])


def test_options_of_all_commands_are_counted(command: Run, tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text("[train]\nepochs = 5\nlr = 0.01\n[score]\nkeep = 'id'\n")
    code, (line,) = said(command, tmp_path)
    assert code == 0
    assert line.split() == ["OK", "pipeline.toml", "3", "options"]


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("[train]\nepoch = 5\n[score]\ndevice = 'tpu'\n", ["[train]: 'epoch' is not known", "[score]: device: 'tpu'"]),
        ("[trian]\nepochs = 5\n", ["'trian' is not known. Did you mean 'train'?"]),
        ("epochs\n", ["is not TOML"]),
    ],
)
def test_every_mistake_is_one_line(command: Run, tmp_path: Path, content: str, messages: list[str]) -> None:
    (tmp_path / "pipeline.toml").write_text(content)
    code, lines = said(command, tmp_path)
    assert code == 2
    assert len(lines) == len(messages)
    for message in messages:
        assert any(line.startswith("FAIL") and message in line for line in lines)
