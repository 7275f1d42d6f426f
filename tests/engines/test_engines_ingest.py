"""What the engine of ingest costs before there is anything to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import run_process
from tests.support.ingested import ingest
from tests.support.paths import ROOT
from tests.support.tables import write_csv


def test_torch_is_imported_while_the_sources_are_looked_for() -> None:
    code = (
        "import sys, threading, jobs.ingest\n"
        "from pipeline.engines.ingest import import_early\n"
        "assert 'torch' not in sys.modules\n"
        "import_early()\n"
        "(thread,) = (thread for thread in threading.enumerate() if thread.name == 'import')\n"
        "thread.join()\n"
        "assert 'pipeline.engines.threads' in sys.modules and 'torch' in sys.modules\n"
        "before = threading.active_count()\n"
        "import_early()\n"
        "assert threading.active_count() == before, 'a process that ingests again has nothing to import'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)


def test_what_cannot_be_imported_is_an_error_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,pos", "dull,neg")
    monkeypatch.setitem(sys.modules, "pipeline.engines.threads", None)
    with pytest.raises(ImportError, match=r"pipeline\.engines\.threads"):
        ingest(tmp_path / "lake", source)
    assert not (tmp_path / "lake/tokens").exists()


def test_a_command_that_ends_before_the_import_does(tmp_path: Path) -> None:
    done = run_process("--lake", tmp_path / "lake", "ingest", tmp_path / "none.csv")
    assert (done.code, "no such file or folder" in done.stderr) == (66, True), done.stderr
    assert "Traceback" not in done.stderr
