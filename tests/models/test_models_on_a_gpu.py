"""What holds on a GPU: every architecture trains, scores and gives what the CPU gives; one process per GPU; kill and resume.

`make test-gpu`, on a machine with a GPU and a CUDA build of torch. Anywhere else these tests are skipped.
"""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from pipeline.api import load
from pipeline.devices import resolve_device
from pipeline.models.layers.scan import Direction, joint_gated_average, scan
from pipeline.models.registry import build_model
from pipeline.scoring.attribution import attribute
from pipeline.training.checkpoint import TrainingFolder
from tests.support.commands import invoke
from tests.support.killed_training import killed_after
from tests.support.reviews import order_reviews
from tests.support.small_models import networks, small
from tests.support.token_corpus import Corpus
from tests.support.training_checks import check_learns_and_scores, make_trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("without_pages"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

VOCABULARY, CLASSES = 200, 3
LENGTHS = [1, 17, 40, 40, 3]


@pytest.fixture
def exact_products() -> None:
    """Products of float32 are not rounded to tf32, so that results can be compared with the CPU's."""
    assert not torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("arch", networks())
def test_learns_and_scores(arch: str, precision: str, order_lake: Path, tmp_path: Path) -> None:
    check_learns_and_scores(arch, order_lake, tmp_path, "--device", "cuda", "--precision", precision)


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("arch", networks())
def test_logits_and_gradients_are_those_of_the_cpu(arch: str) -> None:
    torch.manual_seed(0)
    model = build_model(arch, {"vocab_size": VOCABULARY, "num_classes": CLASSES, **small(arch)})
    lengths_B = torch.tensor(LENGTHS)
    ids_BT = torch.randint(2, VOCABULARY, (len(LENGTHS), max(LENGTHS)))
    ids_BT *= torch.arange(max(LENGTHS)) < lengths_B[:, None]
    found = []
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(model).to(device)
        logits_BC = there(ids_BT.to(device), lengths_B.to(device))
        torch.nn.functional.cross_entropy(logits_BC, torch.arange(len(LENGTHS), device=device) % CLASSES).backward()
        gradients = {
            name: parameter.grad.cpu() for name, parameter in there.named_parameters() if parameter.grad is not None
        }
        found.append({"logits": logits_BC.detach().cpu(), **gradients})
    on_cpu, on_gpu = found
    assert on_cpu.keys() == on_gpu.keys()
    for name, expected in on_cpu.items():
        expected = expected.to_dense() if expected.is_sparse else expected
        got = on_gpu[name].to_dense() if on_gpu[name].is_sparse else on_gpu[name]
        assert torch.allclose(got, expected, rtol=1e-3, atol=2e-5), name


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.complex64], ids=str)
def test_scan_is_that_of_the_cpu(kind: torch.dtype, direction: Direction) -> None:
    torch.manual_seed(0)
    shape = (max(LENGTHS), len(LENGTHS), 12)
    on_cpu = [torch.rand(shape).to(kind), torch.randn(shape, dtype=kind), torch.randn(shape, dtype=kind)]
    assert_alike(
        lambda decay, values: scan(decay, values, torch.tensor(LENGTHS, device=values.device), direction), on_cpu, kind
    )


@pytest.mark.usefixtures("exact_products")
def test_gated_average_is_that_of_the_cpu() -> None:
    torch.manual_seed(0)
    shape = (max(LENGTHS), len(LENGTHS), 12)
    on_cpu = [torch.randn(*shape[:2], 24), torch.randn(shape)]
    assert_alike(joint_gated_average, on_cpu, torch.float32)


def assert_alike(call: object, on_cpu: list[torch.Tensor], kind: torch.dtype) -> None:
    """The last tensor weighs the states."""
    assert callable(call)
    results = []
    for device in ("cpu", "cuda"):
        *given, weight = (tensor.to(device) for tensor in on_cpu)
        given = [tensor.detach().requires_grad_() for tensor in given]
        states = call(*given)
        results.append([states.detach().cpu(), *(g.cpu() for g in torch.autograd.grad(states, given, weight))])
    tolerance = 1e-11 if kind == torch.float64 else 2e-5
    for got, expected in zip(results[1], results[0], strict=True):
        assert float((got - expected).abs().max()) <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("arch", ["bilstm", "bimingru", "peephole-lstm"])
def test_killed_in_the_middle_and_resumed_goes_on_from_there(arch: str, small_corpus: Corpus, tmp_path: Path) -> None:
    whole = make_trainer(arch, small_corpus, TrainingFolder(tmp_path / "whole"), "cuda")
    whole.run()
    folder = TrainingFolder(tmp_path / "killed")
    with killed_after(whole.steps + 3):
        make_trainer(arch, small_corpus, folder, "cuda").run()
    resumed = make_trainer(arch, small_corpus, folder, "cuda")
    checkpoint = folder.read()
    assert checkpoint is not None
    resumed.restore(checkpoint)
    assert (resumed.progress.epoch, resumed.progress.step) == (1, 2)
    resumed.run()
    assert [row.loss for row in resumed.rows()] == pytest.approx([row.loss for row in whole.rows()], abs=1e-4)


SIZES = ("--epochs", "3", "--set", "hidden_dim=16", "--set", "embedding_dim=16", "--lr", "0.003", "--average", "0.9")


def test_defaults_train_score_and_evaluate_on_every_gpu(order_lake: Path, tmp_path: Path) -> None:
    """A bilstm combined with n-grams, one process per GPU; its bundle scores on both devices alike."""
    receipt = invoke("train", "--lake", order_lake, "--nproc", "gpu", *SIZES)
    assert receipt["code"] == 0
    model = Path(receipt["outputs"]["model"]).name
    unseen = order_reviews(500, seed=1)
    pq.write_table(unseen, tmp_path / "unseen.parquet")
    probabilities = {}
    for device in ("cpu", "cuda"):
        output = tmp_path / f"{device}.parquet"
        options = ("--lake", order_lake, "--model", model, "--device", device, "--output", output, "--force")
        assert invoke("score", tmp_path / "unseen.parquet", *options, "--precision", "fp32")["code"] == 0
        probabilities[device] = pq.read_table(output)["probability"].to_numpy()
        assert invoke("evaluate", "--lake", order_lake, "--model", model, "--device", device)["code"] == 0
    assert abs(probabilities["cpu"] - probabilities["cuda"]).max() < 1e-3
    texts = unseen["text"].to_pylist()[:20]
    loaded = load(order_lake, model=model, device="cuda").predict(texts)
    assert [row.probability for row in loaded] == pytest.approx(probabilities["cuda"][:20].tolist(), abs=2e-2)


def test_threads_explain_at_the_same_time() -> None:
    torch.manual_seed(0)
    model = build_model("bilstm", {"vocab_size": VOCABULARY, "num_classes": CLASSES}).to("cuda").eval()
    ids_BT = torch.randint(2, VOCABULARY, (16, 50), device="cuda")
    lengths_B, target_B = torch.full((16,), 50, device="cuda"), torch.zeros(16, dtype=torch.int64, device="cuda")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: attribute(model, ids_BT, lengths_B, target_B), range(64)))
    assert all(torch.allclose(one, found[0], atol=1e-4) for one in found)


def test_auto_takes_the_gpu() -> None:
    assert resolve_device("auto").type == "cuda"
