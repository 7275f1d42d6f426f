"""What a model takes from another: word vectors by word, the output layer by label, the rest by name and shape."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from pipeline.errors import UsageError
from pipeline.models.bundle import Bundle, save_bundle
from pipeline.models.interface import Classifier
from pipeline.models.registry import build_model
from pipeline.text.vocabulary import Vocabulary
from pipeline.training.warm_start import Taken, warm_start
from tests.support.small_models import networks, small

WORDS = ("film", "good", "bad", "dull", "fine")
OTHER_WORDS = ("dull", "new", "good", "newer")


def vocabulary(words: tuple[str, ...] = WORDS, labels: tuple[str, ...] = ("neg", "pos")) -> Vocabulary:
    tokens = ["<pad>", "<unk>", *words]
    return Vocabulary(
        tokens=pa.array(tokens), counts=pa.array([1] * len(tokens), pa.int64()), tokenizer="basic_english", labels=labels
    )


def fresh(arch: str, found: Vocabulary, seed: int = 1, **options: object) -> Classifier:
    torch.manual_seed(seed)
    config = {"vocab_size": len(found), "num_classes": len(found.labels), **small(arch), **options}
    return build_model(arch, config, found.tokens.to_pylist())


def moved(model: Classifier) -> dict[str, Tensor]:
    """Gives every tensor of floats values that no initialisation gives."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.arange(tensor.numel()).view(tensor.shape) * 1e-3 + 7)
    model.state_dict()["embedding.weight"][0] = 0
    return model.state_dict()


def bundle_of(folder: Path, arch: str, model: Classifier, found: Vocabulary) -> Bundle:
    return save_bundle(
        folder / "before",
        model=model,
        arch=arch,
        labels=found.labels,
        tokenizer=found.tokenizer,
        max_length=12,
        vocabulary=found,
        table_version=1,
        metrics={},
        training={},
        created="2026-01-01",
    )


@pytest.mark.parametrize("arch", networks())
def test_the_same_architecture_and_words_give_the_same_model(arch: str, tmp_path: Path) -> None:
    before, after = fresh(arch, vocabulary()), fresh(arch, vocabulary(), seed=2)
    expected = moved(before)
    taken = warm_start(after, arch, vocabulary(), vocabulary().labels, bundle_of(tmp_path, arch, before, vocabulary()))
    assert (taken.tensors, taken.left) == (len(expected), ())
    assert (taken.words, taken.all_words, taken.labels) == (5, 5, 2)
    for name, tensor in after.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("arch", networks())
def test_other_words_and_labels_take_their_own_rows(arch: str, tmp_path: Path) -> None:
    before = fresh(arch, vocabulary())
    theirs = moved(before)
    found = vocabulary(OTHER_WORDS, labels=("pos", "mixed", "neg"))
    after, untouched = fresh(arch, found, seed=2), fresh(arch, found, seed=2).state_dict()
    taken = warm_start(after, arch, found, found.labels, bundle_of(tmp_path, arch, before, vocabulary()))
    own = after.state_dict()
    for row, place in {1: 1, 2: 5, 4: 3}.items():  # <unk>, dull, good
        assert torch.equal(own["embedding.weight"][row], theirs["embedding.weight"][place])
    for row in (0, 3, 5):
        assert torch.equal(own["embedding.weight"][row], untouched["embedding.weight"][row])
    for name in ("head.weight", "head.bias"):
        assert torch.equal(own[name][[0, 2]], theirs[name][[1, 0]])
        assert torch.equal(own[name][1], untouched[name][1])
    assert (taken.words, taken.all_words, taken.labels, taken.all_labels) == (2, 4, 2, 3)
    left = ("ngram_embedding.weight",) if arch == "bag" else ()
    assert taken.left == left, "what is found by hashes of token IDs means nothing under other IDs"
    for name in left:
        assert torch.equal(own[name], untouched[name])


def test_another_architecture_takes_word_vectors_alone(tmp_path: Path) -> None:
    before = fresh("gru", vocabulary())
    theirs = moved(before)
    after, untouched = fresh("lstm", vocabulary(), seed=2), fresh("lstm", vocabulary(), seed=2).state_dict()
    taken = warm_start(after, "lstm", vocabulary(), vocabulary().labels, bundle_of(tmp_path, "gru", before, vocabulary()))
    assert (taken.tensors, taken.words, taken.labels) == (1, 5, 0)
    assert torch.equal(after.state_dict()["embedding.weight"], theirs["embedding.weight"])
    for name in taken.left:
        assert torch.equal(after.state_dict()[name], untouched[name])


def test_other_shapes_are_left_out_and_the_option_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = fresh("lstm", vocabulary(), hidden_dim=6)
    bundle = bundle_of(tmp_path, "lstm", before, vocabulary())
    taken = warm_start(fresh("lstm", vocabulary(), hidden_dim=8), "lstm", vocabulary(), vocabulary().labels, bundle)
    assert taken.words == 5 and "head.weight" in taken.left
    assert f"so {len(taken.left)} of {taken.all_tensors} tensors start from random values" in caplog.text
    assert caplog.text.rstrip().endswith("To take them all, pass --hidden-dim 6.")
    caplog.clear()
    assert (
        warm_start(fresh("lstm", vocabulary(), hidden_dim=6), "lstm", vocabulary(), vocabulary().labels, bundle).left == ()
    )
    assert "pass" not in caplog.text


@pytest.mark.parametrize(
    ("arch", "words", "options"),
    [
        ("nbsvm", WORDS, {"bits": 8}),
        ("gru", WORDS, {**small("gru"), "embedding_dim": 8}),
        ("gru", ("un", "une"), small("gru")),
    ],
)
def test_nothing_in_common_is_refused(arch: str, words: tuple[str, ...], options: dict[str, object], tmp_path: Path) -> None:
    found = vocabulary(words)
    before = build_model(arch, {"vocab_size": len(found), "num_classes": 2, **options})
    with pytest.raises(UsageError, match=r"nothing of it fits.* remove --init-from to start from random weights"):
        warm_start(
            fresh("lstm", vocabulary()), "lstm", vocabulary(), vocabulary().labels, bundle_of(tmp_path, arch, before, found)
        )


def test_what_was_taken_is_plain_json() -> None:
    taken = Taken(
        model_id="a", tensors=1, all_tensors=2, words=3, all_words=4, labels=0, all_labels=2, left=("head.weight",)
    )
    assert taken.to_dict()["left"] == ["head.weight"]
