"""What every architecture has to do in the pipeline: learn, save, load, score and resume.

A new file in pipeline/models/ is tested by being there; on two ranks it is in tests/training/test_training_ranks.py.
"""

import pytest

from tests.support.small_models import networks
from tests.support.training_checks import TrainingChecks

pytestmark = pytest.mark.usefixtures("without_pages")


@pytest.mark.parametrize("arch", networks())
class TestTraining(TrainingChecks):
    """On every architecture."""
