"""What every architecture has to keep, as tests that a class in a test module inherits."""

import inspect
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pipeline.errors import UsageError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import find_bundle, read_bundle, save_bundle
from pipeline.models.interface import ReviewClassifier
from pipeline.models.registry import build_model, load_architecture
from pipeline.options.option import fields_of
from pipeline.text.vocabulary import Vocabulary
from tests.support.models import random_batch

LENGTHS = [9, 5, 1, 12, 3]


def make_classifier(arch: str, vocabulary: Vocabulary, num_classes: int = 2, **options: object) -> ReviewClassifier:
    torch.manual_seed(1)
    config = {"vocab_size": len(vocabulary), "num_classes": num_classes, **options}
    return build_model(arch, config, vocabulary.tokens.to_pylist())


class ArchitectureChecks:
    def test_tells_where_it_comes_from(self, arch: str) -> None:
        architecture = load_architecture(arch)
        assert 1986 <= architecture.year <= 2030
        assert re.search(r"(19|20)\d\d, \w", architecture.paper), "authors year, title"
        assert architecture.summary and len(architecture.summary) < 60
        text = inspect.getdoc(sys.modules[architecture.__module__]) or ""
        assert "Source:" in text and re.search(r"\b(19|20)\d\d\b", text.split("Source:")[1])
        assert "(B, T, " in text and " = " in text, "shapes and equations"

    @pytest.mark.parametrize("num_classes", [2, 5])
    @pytest.mark.parametrize("kind", [torch.int32, torch.int64])
    def test_gives_logits(self, arch: str, num_classes: int, kind: torch.dtype, vocabulary: Vocabulary) -> None:
        ids_BT, lengths_B = random_batch(LENGTHS)
        logits_BC = make_classifier(arch, vocabulary, num_classes)(ids_BT.to(kind), lengths_B)
        assert logits_BC.shape == (len(LENGTHS), num_classes)
        assert logits_BC.dtype == torch.float32 and logits_BC.isfinite().all()

    @torch.no_grad()
    def test_a_review_does_not_depend_on_its_batch_mates(self, arch: str, vocabulary: Vocabulary) -> None:
        (option,) = (field.option for field in fields_of(load_architecture(arch).Config) if field.name == "pooling")
        for pooling in option.known():
            model = make_classifier(arch, vocabulary, pooling=pooling).eval()
            ids_BT, lengths_B = random_batch(LENGTHS)
            together = model(ids_BT, lengths_B)
            order = torch.tensor([3, 0, 4, 2, 1])
            assert_close(model(ids_BT[order], lengths_B[order]), together[order])
            more_padding = torch.nn.functional.pad(ids_BT, (0, 7))
            assert_close(model(more_padding, lengths_B), together)
            for row, length in enumerate(LENGTHS):
                alone = slice(row, row + 1)
                assert_close(model(ids_BT[alone, :length], lengths_B[alone]), together[alone])

    def test_padding_ids_are_not_read(self, arch: str, vocabulary: Vocabulary) -> None:
        model = make_classifier(arch, vocabulary).eval()
        ids_BT, lengths_B = random_batch(LENGTHS)
        dirty = torch.where(ids_BT == 0, 7, ids_BT)
        assert_close(model(dirty, lengths_B), model(ids_BT, lengths_B))

    def test_features_of_regions_stand_beside_the_embeddings(self, arch: str, vocabulary: Vocabulary) -> None:
        if "region_dim" not in {field.name for field in fields_of(load_architecture(arch).Config)}:
            return
        model = make_classifier(arch, vocabulary, region_dim=4).eval()
        ids_BT, lengths_B = random_batch(LENGTHS)
        assert model.regions is not None
        without = model(ids_BT, lengths_B)
        model.regions.set(torch.randn(len(vocabulary), 4), torch.randn(4))
        found = model(ids_BT, lengths_B)
        assert not torch.allclose(found, without)
        dirty = torch.where(ids_BT == 0, 7, ids_BT)
        assert_close(model(dirty, lengths_B), found)
        alone = slice(1, 2)
        assert_close(model(ids_BT[alone, : LENGTHS[1]], lengths_B[alone]), found[alone])

    def test_every_parameter_gets_a_gradient(self, arch: str, vocabulary: Vocabulary) -> None:
        model = make_classifier(arch, vocabulary)
        ids_BT, lengths_B = random_batch(LENGTHS)
        torch.manual_seed(2)
        cross_entropy(model(ids_BT, lengths_B), torch.tensor([0, 1, 0, 1, 1])).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name
        assert not model.embedding.weight.grad[0].any() and not model.embedding.weight[0].any(), "<pad> stays zero"

    def test_sparse_gradients_of_the_embedding_equal_the_dense_ones(self, arch: str, vocabulary: Vocabulary) -> None:
        ids_BT, lengths_B = random_batch(LENGTHS)
        gradients = []
        for sparse in (False, True):
            model = make_classifier(arch, vocabulary, dropout=0.0).eval()
            model.embedding.sparse = sparse
            model(ids_BT, lengths_B)[:, 1].sum().backward()
            gradients.append(model.embedding.weight.grad.to_dense())
        assert_close(gradients[1], gradients[0])

    def test_saves_and_loads(self, arch: str, vocabulary: Vocabulary, tmp_path: Path) -> None:
        model = make_classifier(arch, vocabulary).eval()
        lake = Lake(tmp_path)
        save_bundle(
            lake.models / "one",
            model=model,
            arch=arch,
            labels=("neg", "pos"),
            tokenizer="basic_english",
            max_length=12,
            vocabulary=vocabulary,
            table_version=3,
            metrics={},
            training={"seed": 1},
            created="2026-01-01",
        )
        bundle = find_bundle(lake, "one")
        assert bundle == read_bundle(lake.models / "one")
        ids_BT, lengths_B = random_batch(LENGTHS)
        loaded = bundle.load_model()
        assert not loaded.training and type(loaded) is type(model) and loaded.config == model.config
        assert torch.equal(loaded(ids_BT, lengths_B), model(ids_BT, lengths_B))

    def test_is_deterministic_under_a_seed(self, arch: str, vocabulary: Vocabulary) -> None:
        ids_BT, lengths_B = random_batch(LENGTHS)
        first, second = (make_classifier(arch, vocabulary)(ids_BT, lengths_B) for _ in range(2))
        assert torch.equal(first, second)

    def test_runs_in_bfloat16(self, arch: str, vocabulary: Vocabulary) -> None:
        ids_BT, lengths_B = random_batch(LENGTHS)
        model = make_classifier(arch, vocabulary, dropout=0.0).eval()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = model(ids_BT, lengths_B)
            cross_entropy(low.float(), torch.tensor([0, 1, 0, 1, 1])).backward()
        torch.testing.assert_close(low.float(), model(ids_BT, lengths_B), atol=0.1, rtol=0.1)
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_refuses_options_it_does_not_have(self, arch: str, vocabulary: Vocabulary) -> None:
        with pytest.raises(
            UsageError, match=f"--colour: the architecture '{arch}' has no such option. It has: --embedding-dim"
        ):
            make_classifier(arch, vocabulary, colour="red")
        with pytest.raises(UsageError, match=r"--dropout 1\.5: expected a number from 0"):
            make_classifier(arch, vocabulary, dropout=1.5)
        with pytest.raises(UsageError, match="--pooling: 'maximum' is not known"):
            make_classifier(arch, vocabulary, pooling="maximum")


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
