"""Self-training: the linear model of n-grams labels unlabelled reviews, and a network also learns from these labels.

    q(y | x) = softmax(s · g(x))

g: the linear model, fitted on the training part; s: its scale, fitted on the validation part, so q is as confident as g
is accurate there. A network learns the whole distribution, not the most probable class.

Source: Hinton et al. 2015, "Distilling the knowledge in a neural network"; Xie et al. 2020, "Self-training with noisy
student improves ImageNet classification".
"""

import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.models.layers.ngram_linear import NgramLinear
from pipeline.order.selection import UNLABELLED, Part
from pipeline.tasks.base import Task
from pipeline.training.blending import Reading, collect

log = logging.getLogger(__name__)


def soft_targets(teacher: NgramLinear, parts: Mapping[str, Part], task: Task, reading: Reading) -> npt.NDArray[np.float32]:
    """The probabilities (U, C) of the U rows of the unlabelled part, in its order.

    Args:
        parts: `valid` and `unlabelled`.

    Raises:
        DataError: damaged shards.
        StoppedError: `reading.check_stop` raised it.
    """
    valid = collect([teacher], parts["valid"], reading, "teacher")
    scale = task.fit_scales(valid.outputs_JNC, valid.targets_N, [1.0])
    found = collect([teacher], parts[UNLABELLED], reading, "label")
    targets_UC = np.empty(found.outputs_JNC[0].shape, np.float32)
    # Rows come sorted by length; unlabelled ones carry their number, see `DecodedGroup`.
    targets_UC[-1 - found.targets_N] = task.soft_targets(found.blended(scale))
    figures = valid.evaluation(task, valid.blended(scale)).figures()
    log.info(
        "%s labelled %s unlabelled reviews (its %s on validation rows)",
        task.kind.linear_arch,
        f"{len(targets_UC):,}",
        task.in_words(figures),
    )
    return targets_UC
