"""Runs commands with a fault at the k-th file operation under a lake, and looks at what is left with other eyes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).with_name("shim.c")
MUTATING = "cwsnlumt"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What the shim does at the `at`-th operation of `kinds`; 0 counts only. `sticky`: at every later one, too."""

    action: str = "count"
    kinds: str = MUTATING
    at: int = 0
    errno: int = 0
    sticky: bool = False
    trace: Path | None = None


@dataclass(frozen=True)
class Ending:
    """How a command ended: exit code, or minus the signal that killed it."""

    code: int
    counted: int
    stdout: str
    stderr: str


def build_shim(folder: Path) -> Path | None:
    """Compiles the shim once for each version of its source; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    target = folder / f"shim-{hashlib.sha256(SHIM.read_bytes()).hexdigest()[:12]}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, SHIM], check=True)
    return target


class Commands:
    """Runs command lines, each in a fork of one process that has imported everything. A context manager."""

    def __init__(self, shim: Path, folder: Path, *, torch: bool = False) -> None:
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "PYTHONHASHSEED": "0",
        }
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py")), *(["--torch"] if torch else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def __enter__(self) -> "Commands":
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def run(self, root: Path, *argv: object, fault: Fault | None = None, **environment: str) -> Ending:
        """Runs `pipeline ARGV…` with a fault under `root`, in the environment with these variables, too."""
        fault = fault or Fault()
        assert self._process.stdin and self._process.stdout
        out, err = self._folder / "stdout", self._folder / "stderr"
        order = {
            "argv": [str(argument) for argument in argv],
            "stdout": str(out),
            "stderr": str(err),
            "environment": environment,
            "fault": {
                "root": str(root),
                "kinds": fault.kinds,
                "at": fault.at,
                "action": fault.action,
                "errno": fault.errno,
                "sticky": int(fault.sticky),
                "trace": str(fault.trace or ""),
            },
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Ending(answer["code"], answer["counted"], out.read_text(), err.read_text())


def leftovers(lake: Path) -> list[str]:
    """Names of unfinished files anywhere in the lake."""
    found = [path for path in lake.rglob("*") if path.name.startswith(".tmp") or ".json#" in path.name]
    found += list((lake / ".scratch").glob("*/*"))
    return sorted(str(path.relative_to(lake)) for path in found)


def sliced(where: list[int]) -> list[int]:
    """The points of the slice that `FAULTS_PART` names, such as `2/12`; all of them where it names none."""
    part, _, parts = os.environ.get("FAULTS_PART", "1/1").partition("/")
    return where[int(part) - 1 :: int(parts)]
