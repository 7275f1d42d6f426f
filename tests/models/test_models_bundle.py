"""Bundles: what is written comes back, and whatever is damaged is refused with a message."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pipeline.errors import CannotWriteError, DataError, InputNotFoundError, PipelineError
from pipeline.lake.paths import Lake
from pipeline.models.bundle import find_bundle, read_bundle, verify_bundle
from pipeline.models.registry import architectures
from pipeline.text.vocabulary import Vocabulary
from tests.support.models import make_vocabulary, save_rnn
from tests.support.paths import ROOT


@pytest.fixture
def lake(tmp_path: Path, vocabulary: Vocabulary) -> Lake:
    lake = Lake(tmp_path)
    save_rnn(lake.models / "first", vocabulary)
    save_rnn(lake.models / "second", vocabulary, hidden_dim=5)
    lake.latest.write_text("second\n")
    return lake


def test_says_what_was_saved(lake: Lake, vocabulary: Vocabulary) -> None:
    bundle = find_bundle(lake, "first")
    assert (bundle.model_id, bundle.folder, bundle.arch) == ("first", lake.models / "first", "rnn")
    assert (bundle.labels, bundle.tokenizer, bundle.max_length) == (("neg", "pos"), "basic_english", 12)
    assert (bundle.vocabulary, bundle.table_version) == (vocabulary.fingerprint, 3)
    assert (bundle.metrics, bundle.training, bundle.created) == ({"valid_accuracy": 0.75}, {"seed": 1}, "2026-01-01")
    assert bundle.load_vocabulary().tokens == vocabulary.tokens
    assert sorted(path.name for path in bundle.folder.iterdir()) == [
        "manifest.json",
        "model.json",
        "model.safetensors",
        "vocabulary.parquet",
    ]


def test_is_found_by_latest_by_id_and_by_path(lake: Lake, tmp_path: Path, vocabulary: Vocabulary) -> None:
    assert find_bundle(lake).model_id == "second"
    assert find_bundle(lake, "first").model_id == "first"
    save_rnn(tmp_path / "elsewhere" / "mine", vocabulary)
    assert find_bundle(lake, str(tmp_path / "elsewhere" / "mine")).model_id == "mine"


def test_a_model_that_is_not_there(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"'firts' is not known. Did you mean 'first'\? Known: first, "):
        find_bundle(lake, "firts")
    known = r"--teacher: 'nbsvn' is not known\. Did you mean 'nbsvm'\? Known: first, LATEST, LIVE, nbsvm, "
    with pytest.raises(InputNotFoundError, match=known):
        find_bundle(lake, "nbsvn", "--teacher", ("nbsvm",))
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        find_bundle(Lake(tmp_path / "absent"), "first")
    with pytest.raises(InputNotFoundError, match="there is no lake at"):
        find_bundle(Lake(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="is empty"):
        find_bundle(Lake(tmp_path / "empty"), "first")
    with pytest.raises(InputNotFoundError, match="LATEST does not exist"):
        find_bundle(Lake(tmp_path / "empty"))
    lake.latest.write_text("gone\n")
    with pytest.raises(InputNotFoundError, match=r"LATEST names gone, which does not exist\. Run 'pipeline repair'"):
        find_bundle(lake)


def test_latest_that_holds_no_id(lake: Lake) -> None:
    for content, error in ((b" \n", InputNotFoundError), (b"\xff\xfe", DataError), (b"a\0b", InputNotFoundError)):
        lake.latest.write_bytes(content)
        with pytest.raises(error, match=r"LATEST|cannot be read"):
            find_bundle(lake)
    lake.latest.unlink()
    lake.latest.mkdir()
    with pytest.raises(DataError, match=r"LATEST cannot be read: .*Is a directory"):
        find_bundle(lake)


def test_same_model_gives_same_bytes(lake: Lake, tmp_path: Path, vocabulary: Vocabulary) -> None:
    save_rnn(tmp_path / "again", vocabulary)
    for name in ("model.json", "model.safetensors", "vocabulary.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (lake.models / "first" / name).read_bytes()


Damage = Callable[[Path], Any]


def edit(**changes: object) -> Damage:
    """Changes fields of model.json; None removes one."""

    def damage(folder: Path) -> None:
        path = folder / "model.json"
        described = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({name: value for name, value in described.items() if value is not None}))

    return damage


def as_an_earlier_release_wrote_it(folder: Path) -> None:
    """Without a manifest."""
    (folder / "manifest.json").unlink()
    edit(manifest=None)(folder)


def flip_a_bit(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-5] ^= 1
        (folder / name).write_bytes(content)

    return damage


def copy_from_second(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder.parent / "second" / name).read_bytes())


def second_weights_with_their_hash(folder: Path) -> None:
    copy_from_second("model.safetensors")(folder)
    edit(weights_sha256=json.loads((folder.parent / "second" / "model.json").read_text())["weights_sha256"])(folder)


def text_as_weights(folder: Path) -> None:
    import hashlib

    (folder / "model.safetensors").write_bytes(b"no tensors")
    edit(weights_sha256=hashlib.sha256(b"no tensors").hexdigest())(folder)


DAMAGES: dict[str, tuple[Damage, type[PipelineError], str]] = {
    "no description": (lambda f: (f / "model.json").unlink(), InputNotFoundError, "not a complete model bundle"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), InputNotFoundError, "model.safetensors does not exist"),
    "no vocabulary": (lambda f: (f / "vocabulary.parquet").unlink(), InputNotFoundError, "the vocabulary .* does not exist"),
    "no JSON": (lambda f: (f / "model.json").write_text("{"), DataError, "is not a model description: it is not JSON"),
    "binary": (
        lambda f: (f / "model.json").write_bytes(b"\xff\xfe\x00"),
        DataError,
        "is not a model description: it is not JSON",
    ),
    "a list": (lambda f: (f / "model.json").write_text("[]"), DataError, "has no version"),
    "newer": (edit(version=2), DataError, "has version 2 of the model contract; this release reads 1. Upgrade"),
    "unknown architecture": (edit(arch="bilstn"), DataError, "architecture that this release does not have.*'bilstm'"),
    "a field missing": (edit(labels=None), DataError, "labels is missing, expected a list of strings"),
    "a field of a wrong type": (edit(max_length="12"), DataError, 'max_length is "12", expected a whole number from 1'),
    "no length": (edit(max_length=0), DataError, "max_length is 0, expected a whole number from 1 to "),
    "a length below none": (edit(max_length=-3), DataError, "max_length is -3, expected a whole number from 1 to "),
    "a length beyond all": (edit(max_length=10**30), DataError, "max_length is 10+, expected a whole number from 1 to "),
    "a length that is a truth": (edit(max_length=True), DataError, "max_length is true, expected a whole number from 1 to "),
    "a negative version": (
        edit(table_version=-1),
        DataError,
        "table_version is -1, expected a whole number from 0 to .* or null",
    ),
    "parameters that are text": (
        edit(parameters="abc"),
        DataError,
        'parameters is "abc", expected a whole number from 0 to ',
    ),
    "a share that is text": (
        edit(training={"valid_fraction": "x"}),
        DataError,
        'training.valid_fraction is "x", expected a number between 0 and 1',
    ),
    "a share that is null": (edit(training={"valid_fraction": None}), DataError, "valid_fraction is null, expected"),
    "a share of more than all": (edit(training={"valid_fraction": 2.0}), DataError, r"valid_fraction is 2\.0, expected"),
    "a nest": (
        lambda f: (f / "model.json").write_text("[" * 200_000),
        DataError,
        "is not a model description: it is not JSON",
    ),
    "a size beyond all": (
        edit(model_config={"vocab_size": 60, "num_classes": 2, "embedding_dim": 10**18}),
        DataError,
        "cannot be built: ",
    ),
    "an unknown option": (
        edit(model_config={"vocab_size": 60, "num_classes": 2, "hue": 1}),
        DataError,
        "cannot be built: --hue",
    ),
    "an option missing": (edit(model_config={"hidden_dim": 4}), DataError, "cannot be built: .*vocab_size, num_classes"),
    "another size": (
        edit(model_config={"vocab_size": 60, "num_classes": 2}),
        DataError,
        "size mismatch for embedding.weight",
    ),
    "a bit of the weights": (flip_a_bit("model.safetensors"), DataError, "its SHA-256 differs"),
    "another model's weights": (copy_from_second("model.safetensors"), DataError, "its SHA-256 differs"),
    "weights of another shape": (second_weights_with_their_hash, DataError, "does not fit the architecture 'rnn'"),
    "weights that are none": (text_as_weights, DataError, "does not fit the architecture 'rnn'"),
    "another vocabulary": (edit(vocabulary="0123456789abcdef"), DataError, "trained with 0123456789abcdef"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused(name: str, lake: Lake) -> None:
    damage, error, message = DAMAGES[name]
    as_an_earlier_release_wrote_it(lake.models / "first")
    damage(lake.models / "first")
    with pytest.raises(error, match=message):
        bundle = read_bundle(lake.models / "first")
        bundle.load_vocabulary()
        bundle.load_model()


@pytest.mark.parametrize("name", ["model.json", "model.safetensors", "vocabulary.parquet", "manifest.json"])
def test_a_changed_file_is_refused_wherever_its_bit_lies(name: str, lake: Lake) -> None:
    folder = lake.models / "first"
    path = folder / name
    whole = path.read_bytes()
    verify_bundle(read_bundle(folder))
    for place in range(0, len(whole), max(1, len(whole) // 20)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises((DataError, InputNotFoundError), match=r"Restore|Upgrade"):
            verify_bundle(read_bundle(folder))
    path.unlink()
    with pytest.raises(InputNotFoundError, match="does not exist"):
        verify_bundle(read_bundle(folder))


def test_a_description_that_was_changed_well_is_refused(lake: Lake) -> None:
    edit(labels=["pos", "neg"])(lake.models / "first")
    with pytest.raises(DataError, match=r"model.json is not the file that was written"):
        find_bundle(lake, "first")


def test_labels_have_to_fit_the_model(lake: Lake) -> None:
    as_an_earlier_release_wrote_it(lake.models / "first")
    edit(labels=["neg", "neutral", "pos"])(lake.models / "first")
    with pytest.raises(DataError, match="3 labels, but the model has 2 classes"):
        read_bundle(lake.models / "first")


def test_refuses_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError):
        save_rnn(tmp_path / "file" / "bundle", make_vocabulary())


def test_many_classes(tmp_path: Path, vocabulary: Vocabulary) -> None:
    bundle = save_rnn(tmp_path / "stars", vocabulary, labels=("1", "2", "3"))
    assert bundle.load_model()(torch.tensor([[5, 6]]), torch.tensor([2])).shape == (1, 3)


def test_registry_needs_no_torch() -> None:
    script = (
        "import sys; from pipeline.models.registry import architectures; print(*architectures()); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    names, torch_loaded = done.stdout.splitlines()
    assert tuple(names.split()) == architectures() and torch_loaded == "False"


def test_vocabulary_of_a_bundle_is_read_once(lake: Lake) -> None:
    bundle = find_bundle(lake, "first")
    assert bundle.load_vocabulary() is bundle.load_vocabulary()
    assert isinstance(bundle.load_vocabulary().tokens, pa.StringArray)
