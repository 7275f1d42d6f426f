"""Help answers without the heavy libraries; every command shows defaults and one example; foreign packages are refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.app import COMMANDS
from tests.support.commands import Run
from tests.support.paths import ROOT

SHOW_MODULES = """
import sys
from pipeline.cli.app import run_command_line
for line in sys.argv[1:]:
    sys.argv = ["pipeline", *line.split()]
    assert run_command_line() == 0, line
print("MODULES", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_arguments_are_named_once_in_the_usage(command: Run) -> None:
    for name, wanted in (("ingest", "[SOURCE]..."), ("report", "[MODEL]..."), ("init", "[FILE]..."), ("export", "[MODEL]")):
        assert command(name, "--help").stdout.splitlines()[0] == f"Usage: pipeline {name} [OPTIONS] {wanted}"
    told = " ".join(command("train", "--help").stdout.split())
    assert "--valid-fraction SHARE" in told and " part " not in told.partition("n-gram")[0]
    assert "If there is no such file, nothing is scored." in " ".join(command("nightly", "--help").stdout.split())


def test_help_imports_nothing_heavy() -> None:
    lines = ["--help", "--version", *(f"{command} --help" for command in COMMANDS)]
    done = subprocess.run([sys.executable, "-c", SHOW_MODULES, *lines], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = done.stdout.rpartition("MODULES")[2].split()
    assert "typer" in modules
    assert not {"torch", "pyarrow", "numpy", "deltalake", "matplotlib", "torchdata", "jobs"} & set(modules)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_and_its_defaults(command: str, run_main, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(command, "--help") == 0
    page = capsys.readouterr().out
    assert f"Example: pipeline {command}" in page.replace("\n", " ")
    options = re.split(r"\n  (?=-)", page.partition("Options:")[2])
    for option in options[1:]:
        name = option.split()[0]
        if re.match(r"(-\w, )?--[\w-]+ [^ /]", option):  # it takes a value
            assert "[default:" in option or "[required]" in option, f"{command} {name} does not say its default"
    assert not re.search(r"<\w+(\[\w+\])?>", page), "Python's types say nothing to people"


def test_the_lake_may_stand_before_or_after_the_command(tmp_path: Path, command: Run) -> None:
    before = command("--lake", tmp_path / "a", "runs", "--json")
    after = command("runs", "--lake", tmp_path / "a", "--json")
    assert (before.code, before.stdout) == (after.code, after.stdout)


def test_schema_prints_every_contract_and_its_rule(command: Run) -> None:
    contracts = json.loads(command("schema", "--json").stdout)
    assert {"review", "token", "vocabulary", "prediction", "reject", "run"} <= {contract["name"] for contract in contracts}
    assert all(contract["version"] >= 1 and contract["rule"] and contract["columns"] for contract in contracts)
    assert "ids" in command("schema", "token").stdout
    unknown = command("schema", "tokn")
    assert unknown.code == 2
    assert "Did you mean 'token'?" in unknown.stderr


def test_a_foreign_package_of_our_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "runs"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=False,
    )
    assert done.returncode == 70
    assert f"'jobs' would be imported from {tmp_path / 'jobs'}" in done.stderr
    assert "environment of its own" in done.stderr
