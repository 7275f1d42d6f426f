"""The crontab as cron runs it: a bare environment, /bin/sh, another working folder. And the systemd units."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.fork_server import forked_pipeline
from tests.support.paths import ROOT

SCHEDULE = ROOT / "jobs" / "schedule"
INSTALLED, LAKE = "/opt/review-pipeline/bin/pipeline", "/srv/reviews/data_lake"
SETTINGS = '[train]\narch = "nbsvm"\n'


def parsed(text: str) -> tuple[dict[str, str], list[str]]:
    """Settings and commands, by the rules of crontab(5): no $ expansion; an unescaped % would end the command."""
    settings, commands = {}, []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if setting := re.match(r"\s*(\w+)\s*=\s*(.*?)\s*$", line):
            settings[setting[1]] = setting[2]
        else:
            schedule, command = line.split(maxsplit=5)[:5], line.split(maxsplit=5)[5]
            assert all(re.fullmatch(r"[\d*,/-]+", field) for field in schedule)
            assert not re.search(r"(?<!\\)%", command)
            commands.append(command.replace(r"\%", "%"))
    return settings, commands


@pytest.fixture
def lake(tmp_path: Path, command: Run) -> Path:
    """A lake with raw reviews and a file to score, in a folder with a blank in its name."""
    root = tmp_path / "a lake"
    score = ("--score-input", root / "incoming/new.parquet", "--score-reviews", 12)
    assert command("sample", root / "raw", "--reviews", 240, "--test-reviews", 40, "--unsup", 4, *score).code == 0
    (root / "incoming" / ".gitkeep").touch()
    (root / "pipeline.toml").write_text(SETTINGS)
    return root


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    """The pipeline, in a folder with a blank in its name."""
    path = tmp_path / "an environment" / "pipeline"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.join(forked_pipeline())} "$@"\n')
    path.chmod(0o755)
    return path


def run(command: str, tmp_path: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Runs a command as cron does."""
    bare = {"HOME": str(tmp_path), "LOGNAME": "cron", "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    bare |= {name: str(value) for name, value in settings.items()}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    shell = ["/bin/sh", "-c", command]
    return subprocess.run(shell, capture_output=True, text=True, env=bare, cwd=elsewhere, timeout=240, check=False)


@pytest.mark.slow
def test_the_line_of_the_crontab_runs_a_night(lake: Path, executable: Path, tmp_path: Path) -> None:
    settings, (command,) = parsed((SCHEDULE / "crontab").read_text())
    assert set(settings) == {"MAILTO"}
    command = command.replace(INSTALLED, shlex.quote(str(executable))).replace(LAKE, shlex.quote(str(lake)))
    first = run(command, tmp_path)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert (lake / "predictions" / "incoming" / "new.parquet").exists()
    second = run(command, tmp_path)
    assert (second.returncode, second.stdout, second.stderr) == (99, "", "")


@pytest.mark.slow
def test_the_script_of_earlier_releases_still_works(lake: Path, executable: Path, tmp_path: Path) -> None:
    (lake / "pipeline.toml").unlink()
    other = lake / "other input"
    shutil.copytree(lake / "incoming", other)
    settings = {"PIPELINE": executable, "PIPELINE_LAKE": lake, "TRAIN_OPTIONS": "--arch nbsvm --seed 7"}
    script = f"sh {shlex.quote(str(SCHEDULE / 'nightly.sh'))}"
    done = run(script, tmp_path, **settings, SCORE_INPUT=other)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert any("other input" in str(path) for path in (lake / "predictions").rglob("*.parquet"))
    assert list((lake / "models").glob("nbsvm-*"))
    shutil.rmtree(lake / "incoming")
    assert run(script, tmp_path, **settings).returncode == 99


def test_the_script_refuses_what_it_no_longer_reads(lake: Path, executable: Path, tmp_path: Path) -> None:
    done = run(f"sh {SCHEDULE / 'nightly.sh'}", tmp_path, PIPELINE=executable, PIPELINE_LAKE=lake, LOG=tmp_path / "log")
    assert done.returncode == 2
    assert done.stderr.endswith("Remove LOG from the crontab.\n")
    assert not (lake / "tokens").exists()


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    for name in ("review-pipeline.service", "review-pipeline.timer"):
        text = (SCHEDULE / name).read_text().replace(INSTALLED, shutil.which("true") or "").replace("User=reviews\n", "")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / "review-pipeline.service"), str(tmp_path / "review-pipeline.timer")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "review-pipeline" in line]
    assert (done.returncode, ours) == (0, [])


def test_systemd_runs_the_same_command_as_cron() -> None:
    _, (command,) = parsed((SCHEDULE / "crontab").read_text())
    line = re.search(r"^ExecStart=(.*)$", (SCHEDULE / "review-pipeline.service").read_text(), re.MULTILINE)
    assert line is not None and line[1] == command.removesuffix(" >/dev/null")


def test_what_is_scheduled_is_installed_with_us() -> None:
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    assert {"crontab", "*.sh", "*.service", "*.timer"} <= set(patterns)
