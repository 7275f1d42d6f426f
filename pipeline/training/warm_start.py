"""Another model's weights as the start of a training: copied by name, by word and by label, where they fit.

    embedding      row by row, by word, whatever the architectures, if the vectors are as wide
    output layer   row by row, by label, if the architecture is the same and its features are as many
    the others     as they are, if the architecture and their shapes are the same

Everything else keeps its fresh initialisation. Parameters that are looked up by token IDs need the same vocabulary.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from pipeline.errors import UsageError
from pipeline.models.blend import Blend
from pipeline.models.bundle import Bundle
from pipeline.models.interface import ReviewClassifier
from pipeline.tasks.registry import task_of
from pipeline.text.vocabulary import Vocabulary
from schemas.vocabulary import SPECIALS

log = logging.getLogger(__name__)

EMBEDDING, HEAD = "embedding.weight", ("head.weight", "head.bias")
OF_DATA = ("vocab_size", "num_classes", "sentence_ends")
"""Options of a model that follow from the data, so no option of `train` changes them."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a model took from another: tensors, word vectors and labels, each out of how many; `left`: the tensors that
    stayed as they were."""

    model_id: str
    tensors: int
    all_tensors: int
    words: int
    all_words: int
    labels: int
    all_labels: int
    left: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "left": list(self.left)}


def warm_start(model: ReviewClassifier, arch: str, vocabulary: Vocabulary, outputs: Sequence[str], bundle: Bundle) -> Taken:
    """Copies the weights of `bundle` that fit into `model`, and says what it took. `outputs`: names of the model's outputs.

    Raises:
        InputNotFoundError: the bundle lacks a file.
        DataError: the bundle is damaged.
        UsageError: nothing fits.
    """
    loaded = bundle.load_model()
    other = loaded.deep if isinstance(loaded, Blend) else loaded
    own = model.state_dict()
    theirs = other.state_dict() if isinstance(other, ReviewClassifier) else {}
    before = bundle.load_vocabulary()
    taken: set[str] = set()
    words = _take_rows(own, theirs, EMBEDDING, vocabulary.tokens, before.tokens)
    if words:
        taken.add(EMBEDDING)
    labels = 0
    if arch == bundle.arch:
        taken |= _take_others(model, own, theirs, same_ids=vocabulary.tokens.equals(before.tokens))
        labels = _take_head(own, theirs, outputs, task_of(bundle).outputs)
        taken.update(HEAD if labels else ())
    if not taken:
        raise UsageError(_nothing_fits(model, arch, bundle))
    found = Taken(
        model_id=bundle.model_id,
        tensors=len(taken),
        all_tensors=len(own),
        words=words,
        all_words=len(vocabulary) - len(SPECIALS),
        labels=labels,
        all_labels=len(outputs),
        left=tuple(name for name in own if name not in taken),
    )
    _tell(model, arch, bundle, found)
    return found


def _take_rows(
    own: dict[str, Tensor], theirs: dict[str, Tensor], name: str, tokens: pa.StringArray, before: pa.StringArray
) -> int:
    """Copies the vectors of the words that both know; returns how many there are, without special tokens."""
    if name not in theirs or theirs[name].shape[1] != own[name].shape[1]:
        return 0
    places = pc.index_in(tokens, value_set=before)
    known = torch.from_numpy(pc.is_valid(places).to_numpy(zero_copy_only=False).copy())
    places = torch.from_numpy(pc.fill_null(places, 0).to_numpy().astype("int64"))
    words = int(known[len(SPECIALS) :].sum())
    if words:
        own[name][known] = theirs[name][places[known]]
    return words


def _take_others(model: ReviewClassifier, own: dict[str, Tensor], theirs: dict[str, Tensor], *, same_ids: bool) -> set[str]:
    taken = set()
    for name, tensor in own.items():
        fits = name in theirs and theirs[name].shape == tensor.shape and theirs[name].dtype == tensor.dtype
        if not fits or name in (EMBEDDING, *HEAD) or (name in model.looked_up_by_id and not same_ids):
            continue
        tensor.copy_(theirs[name])
        taken.add(name)
    return taken


def _take_head(own: dict[str, Tensor], theirs: dict[str, Tensor], labels: Sequence[str], before: Sequence[str]) -> int:
    """Copies the rows of the labels that both know; returns how many there are."""
    weight, _ = HEAD
    if weight not in theirs or theirs[weight].shape[1] != own[weight].shape[1]:
        return 0
    shared = [label for label in labels if label in before]
    for label in shared:
        for name in HEAD:
            own[name][labels.index(label)] = theirs[name][before.index(label)]
    return len(shared)


def _tell(model: ReviewClassifier, arch: str, bundle: Bundle, taken: Taken) -> None:
    log.info(
        "started from %s: took %d of %d tensors, %s of %s word vectors, %d of %d labels%s",
        bundle.model_id,
        taken.tensors,
        taken.all_tensors,
        f"{taken.words:,}",
        f"{taken.all_words:,}",
        taken.labels,
        taken.all_labels,
        f"; the rest is new: {', '.join(taken.left)}" if taken.left else "",
    )
    if arch == bundle.arch and (differing := _differences(model, bundle)) and set(taken.left) - {*model.looked_up_by_id}:
        log.warning(
            "%s has other options than this training, so %d of %d tensors start from random values. To take them all, "
            "pass %s.",
            bundle.model_id,
            len(taken.left),
            taken.all_tensors,
            " ".join(differing),
        )


def _differences(model: ReviewClassifier, bundle: Bundle) -> list[str]:
    """The options that give this model the other one's shapes."""
    options = model.config.to_dict()
    names = [name for name in options if name not in OF_DATA and name in bundle.model_config]
    return [
        f"--{name.replace('_', '-')} {bundle.model_config[name]}"
        for name in names
        if options[name] != bundle.model_config[name] and not isinstance(options[name], float)
    ]


def _nothing_fits(model: ReviewClassifier, arch: str, bundle: Bundle) -> str:
    dim = bundle.model_config.get("embedding_dim")
    vectors = f"word vectors of {dim} numbers" if dim else "no word vectors"
    return (
        f"--init-from {bundle.model_id}: nothing of it fits. It is of the architecture {bundle.arch} with {vectors}, this "
        f"training is {arch} with {model.config.embedding_dim}, and words in common are needed. Choose a model of the same "
        "architecture, or remove --init-from to start from random weights."
    )
