"""What every architecture has to keep. A new file in pipeline/models/ is tested by being there."""

import pytest
import torch

from pipeline.models.registry import architectures
from pipeline.text.vocabulary import Vocabulary
from tests.support.architecture_checks import LENGTHS, ArchitectureChecks, make_classifier
from tests.support.models import random_batch
from tests.support.small_models import networks


def test_the_chapter_is_complete() -> None:
    chapter = "rnn birnn lstm bilstm peephole-lstm gru bigru attention-rnn md-rnn grid-lstm unitary-rnn goru transformer bag"
    assert set(chapter.split()) <= set(architectures())


@pytest.mark.parametrize("arch", networks())
class TestArchitecture(ArchitectureChecks):
    """On every architecture."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arch", ["rnn", "birnn", "lstm", "bilstm", "gru", "bigru"])
def test_a_traced_model_takes_other_shapes(arch: str, vocabulary: Vocabulary) -> None:
    model = make_classifier(arch, vocabulary).eval()
    with torch.no_grad():
        traced = torch.jit.trace(model, random_batch([7, 5, 2]), check_trace=False)
        ids_BT, lengths_B = random_batch(LENGTHS)
        torch.testing.assert_close(traced(ids_BT, lengths_B), model(ids_BT, lengths_B))
