"""What every architecture has to do in the pipeline: learn, save, load, score and resume.

A new file in pipeline/models/ is tested by being there; on two ranks it is in tests/training/test_training_ranks.py.
"""

from pathlib import Path

import pytest

from tests.support.small_models import networks
from tests.support.tasks import TASKS
from tests.support.token_corpus import Corpus
from tests.support.training_checks import check_killed_and_resumed, check_learns_and_scores

pytestmark = pytest.mark.usefixtures("without_pages")


LEARNERS = ("lstm", "md-rnn")
"""A cell of torch and one of our own; the others learn in `make test-slow`."""


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=[] if arch in LEARNERS else pytest.mark.slow) for arch in networks()]
)
def test_learns_and_scores(arch: str, order_lake: Path, tmp_path: Path) -> None:
    check_learns_and_scores(arch, order_lake, tmp_path)


@pytest.mark.parametrize("arch", networks())
def test_killed_in_the_middle_and_resumed_gives_the_same_bits(arch: str, small_corpus: Corpus, tmp_path: Path) -> None:
    check_killed_and_resumed(arch, small_corpus, tmp_path)


@pytest.mark.parametrize("task", [name for name in TASKS if name != "classification"])
def test_every_task_is_killed_and_resumed_with_the_same_bits(task: str, small_corpus: Corpus, tmp_path: Path) -> None:
    check_killed_and_resumed("lstm", small_corpus, tmp_path, task)
