"""Other weights as the start of a training, of a model or a pretrained one: copied by name, by word and by label, where they
fit.

    embedding      row by row, by word, whatever the architectures, if the vectors are as wide
    output layer   row by row, by label, if the architecture is the same and its features are as many
    the others     as they are, if the architecture and their shapes are the same

Everything else keeps its fresh initialisation. Parameters that are looked up by token IDs need the same vocabulary.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from pipeline.errors import UsageError
from pipeline.models.blend import Blend
from pipeline.models.bundle import Bundle
from pipeline.models.interface import ReviewClassifier
from pipeline.models.layers.regions import BIAS, WEIGHT
from pipeline.models.pretrained import Pretrained
from pipeline.models.registry import config_class
from pipeline.tasks.registry import task_of
from pipeline.text.vocabulary import Vocabulary
from schemas.vocabulary import SPECIALS

log = logging.getLogger(__name__)

EMBEDDING, HEAD = "embedding.weight", ("head.weight", "head.bias")
SIZES = ("embedding_dim", "region_dim", "hidden_dim", "layers", "cell")
"""Options of a model that give its tensors their shapes; the first two those of tensors that all architectures share."""
OWN_OF_LM = "softmax."
"""The beginning of the names of what only a language model has."""
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
    perplexity: float | None = None
    """That of a language model, on its validation part."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = {**asdict(self), "left": list(self.left)}
        return {name: value for name, value in found.items() if value is not None}


def warm_start(
    model: ReviewClassifier,
    arch: str,
    vocabulary: Vocabulary,
    outputs: Sequence[str],
    bundle: Bundle,
    option: str = "--init-from",
) -> Taken:
    """Copies the weights of `bundle` that fit into `model`, and says what it took. `outputs`: names of the model's outputs;
    `option`: the one that named the bundle.

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
    if _take_rows(own, theirs, WEIGHT, vocabulary.tokens, before.tokens):
        own[BIAS].copy_(theirs[BIAS])
        taken |= {WEIGHT, BIAS}
    labels = 0
    if arch == bundle.arch:
        taken |= _take_others(model, own, theirs, same_ids=vocabulary.tokens.equals(before.tokens))
        labels = _take_head(own, theirs, outputs, task_of(bundle).outputs)
        taken.update(HEAD if labels else ())
    if not taken:
        raise UsageError(_nothing_fits(model, arch, bundle, option))
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


def sizes_of(pretrained: Pretrained, arch: str) -> dict[str, Any]:
    """The options that give a new model of this architecture the shapes of a pretrained one."""
    names = SIZES if _is_akin(arch, pretrained.arch) else SIZES[:2]
    known = {field.name for field in fields(config_class(arch))}
    return {name: pretrained.model_config[name] for name in names if name in pretrained.model_config and name in known}


def start_from_pretrained(
    model: ReviewClassifier, arch: str, vocabulary: Vocabulary, outputs: Sequence[str], pretrained: Pretrained
) -> Taken:
    """Copies the weights of a pretrained model of the same vocabulary that fit into `model`, and says what it took.

    The layers of an architecture with one direction also fit the forward direction of one with both, and vice versa.

    Raises:
        InputNotFoundError: a file is not there.
        DataError: it is damaged.
        UsageError: nothing fits.
    """
    own, theirs = model.state_dict(), pretrained.load_weights()
    akin = _is_akin(arch, pretrained.arch)
    taken = [
        name
        for name, tensor in own.items()
        if name in theirs and theirs[name].shape == tensor.shape and (name in (EMBEDDING, WEIGHT, BIAS) or akin)
    ]
    if not taken:
        raise UsageError(
            f"--init {pretrained.pretrained_id}: nothing of it fits. Its word vectors have "
            f"{pretrained.model_config['embedding_dim']} numbers, those of this training {model.config.embedding_dim}. "
            "Leave out --embedding-dim and the other sizes to take those of the pretrained model."
        )
    for name in taken:
        own[name].copy_(theirs[name])
    words = len(vocabulary) - len(SPECIALS)
    found = Taken(
        model_id=pretrained.pretrained_id,
        tensors=len(taken),
        all_tensors=len(own),
        words=words if EMBEDDING in taken else 0,
        all_words=words,
        labels=0,
        all_labels=len(outputs),
        left=tuple(name for name in own if name not in taken),
        perplexity=pretrained.metrics.get("valid_perplexity"),
    )
    log.info(
        "started from %s: took %d of %d tensors, %s of %s word vectors; %s",
        pretrained.pretrained_id,
        len(taken),
        len(own),
        f"{found.words:,}",
        f"{words:,}",
        f"the rest is new: {', '.join(found.left)}" if found.left else "nothing is new",
    )
    unused = sorted(name for name in theirs if name not in taken and not name.startswith(OWN_OF_LM))
    if unused:
        log.warning("%s also has %s, which do not fit this training", pretrained.pretrained_id, ", ".join(unused))
    return found


def _is_akin(arch: str, other: str | None) -> bool:
    """Whether two architectures have the same recurrent layers, in one direction or in both."""
    return other is not None and arch.removeprefix("bi") == other.removeprefix("bi")


def _take_rows(
    own: dict[str, Tensor], theirs: dict[str, Tensor], name: str, tokens: pa.StringArray, before: pa.StringArray
) -> int:
    """Copies the vectors of the words that both know; returns how many there are, without special tokens."""
    if name not in own or name not in theirs or theirs[name].shape[1] != own[name].shape[1]:
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
        if not fits or name in (EMBEDDING, WEIGHT, BIAS, *HEAD) or (name in model.looked_up_by_id and not same_ids):
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


def _nothing_fits(model: ReviewClassifier, arch: str, bundle: Bundle, option: str) -> str:
    dim = bundle.model_config.get("embedding_dim")
    vectors = f"word vectors of {dim} numbers" if dim else "no word vectors"
    return (
        f"{option} {bundle.model_id}: nothing of it fits. It is of the architecture {bundle.arch} with {vectors}, this "
        f"training is {arch} with {model.config.embedding_dim}, and words in common are needed. Choose a model of the same "
        f"architecture, or remove {option} to start from random weights."
    )
