"""docs/one-liners.md, executed unchanged: every command and every piece of Python, and their output."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.fork_server import forked_pipeline, forked_python
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "one-liners.md"
BLOCK = re.compile(r"^```(console|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*\.?(?:e-?\d+)?")
MODEL = re.compile(r"[a-z-]+-\d{8}T\d{6}Z-[0-9a-f]{6}")


@dataclass
class Step:
    """A command of the shell, or a piece of Python, and the output that the page shows."""

    code: str
    is_shell: bool
    output: str = ""

    def run(self, folder: Path) -> str:
        """Runs it and gives its stdout."""
        pipeline = f'pipeline() {{ {shlex.join(forked_pipeline())} "$@"; }}; set -o pipefail'
        done = subprocess.run(
            ["bash", "-c", f"{pipeline}\n{self.code}"] if self.is_shell else [*forked_python(), self.code],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PIPELINE_LAKE": "lake"},
            timeout=240,
        )
        assert done.returncode == 0, f"{self.code}\n{done.stderr}"
        return done.stdout


@dataclass
class Section:
    """A heading and what stands below it."""

    title: str
    steps: list[Step] = field(default_factory=list)

    def missing(self) -> str:
        """What is not installed and the section needs."""
        code = "\n".join(step.code for step in self.steps)
        modules = re.findall(r"^import (\w+)", code, re.MULTILINE)
        absent = [name for name in modules if importlib.util.find_spec(name) is None]
        if "| jq" in code and shutil.which("jq") is None:
            absent.append("jq")
        return ", ".join(absent)


def sections(page: str) -> Iterator[Section]:
    """The sections of the page, the one before the first heading included."""
    for part in re.split(r"^#+ ", page, flags=re.MULTILINE)[1:]:
        section = Section(part.partition("\n")[0])
        for kind, content in BLOCK.findall(part):
            if kind == "console":
                section.steps += [
                    Step(command, True, output)
                    for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", content, re.M)
                ]
            elif kind == "python":
                section.steps.append(Step(content, False))
            else:
                section.steps[-1].output = content
        if section.steps:
            yield section


SETUP, *REST = sections(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the commands at the top of the page were run."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    place = tmp_path_factory.mktemp("one-liners")
    for step in SETUP.steps:
        step.run(place)
    return place


def shape(output: str) -> list[str]:
    """Output without what differs from run to run: numbers, ids of models, and the width of columns."""
    named = MODEL.sub("MODEL", output)
    return [re.sub(r"[ ─]+", " ", NUMBER.sub("N", line)).strip() for line in named.splitlines()]


def test_there_are_ten() -> None:
    assert len(REST) == 10


@pytest.mark.parametrize("section", REST, ids=lambda section: section.title)
def test_a_one_liner_prints_what_the_page_shows(section: Section, folder: Path) -> None:
    if absent := section.missing():
        pytest.skip(f"not installed: {absent}")
    for step in section.steps:
        assert shape(step.run(folder)) == shape(step.output), step.code
