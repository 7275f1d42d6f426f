"""Adding an architecture takes one new file and nothing else: those in docs/adding-an-architecture.md and docs/scan.md."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import models
from pipeline.errors import PipelineError, UsageError
from pipeline.models.registry import architectures, check_architecture, load_architecture
from pipeline.text.vocabulary import Vocabulary
from tests.support.architecture_checks import ArchitectureChecks
from tests.support.paths import ROOT
from tests.support.token_corpus import Corpus
from tests.support.training_checks import check_killed_and_resumed, check_learns_and_scores

pytestmark = pytest.mark.usefixtures("without_pages")
PAGES = {"conv-net": "adding-an-architecture.md", "leaky": "scan.md"}


def page_example(arch: str) -> str:
    """The Python file that a page writes."""
    page = (ROOT / "docs" / PAGES[arch]).read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(\"\"\".*?)```", page, flags=re.S)
    return str(example)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files count as files of pipeline/models/."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]
            delattr(models, name.rpartition(".")[2])


@pytest.mark.slow
@pytest.mark.parametrize("arch", PAGES)
def test_the_pages_file_learns_scores_and_resumes(
    folder: Path, tmp_path: Path, order_lake: Path, small_corpus: Corpus, arch: str
) -> None:
    with pytest.raises(UsageError, match=f"--arch: '{arch}' is not known"):
        check_architecture(arch)
    (folder / f"{arch.replace('-', '_')}.py").write_text(page_example(arch), encoding="utf-8")
    assert arch in architectures()
    check_learns_and_scores(arch, order_lake, tmp_path)
    check_killed_and_resumed(arch, small_corpus, tmp_path)


@pytest.mark.parametrize("arch", PAGES)
def test_the_pages_file_keeps_what_every_architecture_keeps(folder: Path, vocabulary: Vocabulary, arch: str) -> None:
    (folder / f"{arch.replace('-', '_')}.py").write_text(page_example(arch), encoding="utf-8")
    suite = ArchitectureChecks()
    suite.test_tells_where_it_comes_from(arch)
    suite.test_a_review_does_not_depend_on_its_batch_mates(arch, vocabulary)
    suite.test_padding_ids_are_not_read(arch, vocabulary)
    suite.test_every_parameter_gets_a_gradient(arch, vocabulary)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "defines 0 complete Classifier classes"),
        (
            "from pipeline.models.interface import ReviewClassifier\nclass Half(ReviewClassifier): ...",
            "defines 0 complete Classifier",
        ),
        (
            "from pipeline.models.interface import ReviewClassifier\n"
            "class Nameless(ReviewClassifier):\n    def encode(self, e, i, l): return e",
            "Nameless lacks the class attributes year, paper, summary",
        ),
    ],
)
def test_an_unfinished_file_is_named(folder: Path, content: str, message: str) -> None:
    (folder / "unfinished.py").write_text(content)
    with pytest.raises(PipelineError, match=message):
        load_architecture("unfinished")
