"""The page layout and its recurrence, attention, the transformer's layer and the bag, against plain transcriptions."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.layers.attention import QueryAttention
from pipeline.models.layers.page import SHORTEST_LINE, PageRNN, lay_out
from pipeline.models.layers.transformer import TransformerLayer, sinusoids
from pipeline.models.registry import build_model
from tests.support.models import random_batch

EXACT = {"atol": 1e-10, "rtol": 1e-10}
STOP = torch.tensor([2, 3])
LENGTHS = [14, 6, 1, 20]


def plain_layout(ids: list[int], width: int) -> list[tuple[int, int]]:
    """(line, word) of each token, one by one."""
    places, line, word, last_mark = [], 0, 0, -1
    for position, token in enumerate(ids):
        if word == width:
            line, word = line + 1, 0
        places.append((line, word))
        word += 1
        if token in STOP.tolist():
            if position - last_mark >= SHORTEST_LINE and position + 1 < len(ids):
                line, word = line + 1, 0
            last_mark = position
    return places


def pages(width: int = 5) -> tuple[Tensor, Tensor]:
    ids_BT, lengths_B = random_batch(LENGTHS, vocab_size=9, seed=5)
    return ids_BT, lengths_B


@pytest.mark.parametrize("width", [1, 5, 32])
def test_page_layout_equals_a_walk_over_the_tokens(width: int) -> None:
    for seed in range(20):
        ids_BT, lengths_B = random_batch(LENGTHS, vocab_size=7, seed=seed)
        page = lay_out(ids_BT, lengths_B, STOP, width)
        lines = 0
        for row, length in enumerate(LENGTHS):
            expected = plain_layout(ids_BT[row, :length].tolist(), width)
            found = list(zip(page.line[row, :length].tolist(), page.word[row, :length].tolist(), strict=True))
            assert found == expected
            lines = max(lines, expected[-1][0] + 1)
        assert page.num_lines == lines


@pytest.mark.parametrize(("up", "left"), list(itertools.product([False, True], repeat=2)))
def test_page_rnn_equals_the_equations(up: bool, left: bool) -> None:
    torch.manual_seed(0)
    width, hidden = 5, 4
    ids_BT, lengths_B = pages()
    inputs_BTE = torch.randn(*ids_BT.shape, 3, dtype=torch.float64)
    layer = PageRNN(3, hidden, up=up, left=left).double()
    nn.init.uniform_(layer.bias)
    states = layer(inputs_BTE, lengths_B, lay_out(ids_BT, lengths_B, STOP, width), width).detach().numpy()
    V, U, b = (parameter.detach().numpy() for parameter in (layer.weight_ih, layer.weight_hh, layer.bias))
    before, beside = (1 if up else -1), (1 if left else -1)
    for row, length in enumerate(LENGTHS):
        places = plain_layout(ids_BT[row, :length].tolist(), width)
        h: dict[tuple[int, int], np.ndarray] = {}
        token_at = {place: token for token, place in enumerate(places)}
        for line, word in sorted(places, key=lambda place: (-before * place[0], -beside * place[1])):
            above, aside = (h.get(at, np.zeros(hidden)) for at in ((line + before, word), (line, word + beside)))
            x = inputs_BTE[row, token_at[line, word]].numpy()
            h[line, word] = np.tanh(V @ x + U[:, :hidden] @ above + U[:, hidden:] @ aside + b)
            np.testing.assert_allclose(states[row, token_at[line, word]], h[line, word], **EXACT)
        assert not states[row, length:].any()


def test_page_rnn_gradients() -> None:
    ids_BT, lengths_B = random_batch([7, 4], vocab_size=9)
    page = lay_out(ids_BT, lengths_B, STOP, 3)
    layer = PageRNN(2, 3).double()
    names = [name for name, _ in layer.named_parameters()]

    def call(inputs_BTE: Tensor, *parameters: Tensor) -> Tensor:
        own = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, own, (inputs_BTE, lengths_B, page, 3))

    inputs_BTE = torch.randn(2, 7, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (inputs_BTE, *layer.parameters()))


def test_page_of_one_line_is_an_rnn() -> None:
    layer = PageRNN(3, 4).double()
    reference = nn.RNN(3, 4, batch_first=True).double()
    with torch.no_grad():
        reference.weight_ih_l0.copy_(layer.weight_ih)
        reference.weight_hh_l0.copy_(layer.weight_hh[:, 4:])
        reference.bias_ih_l0.copy_(layer.bias)
        reference.bias_hh_l0.zero_()
    ids_BT, lengths_B = torch.full((2, 9), 7), torch.tensor([9, 9])
    inputs_BTE = torch.randn(2, 9, 3, dtype=torch.float64)
    page = lay_out(ids_BT, lengths_B, STOP, 9)
    torch.testing.assert_close(layer(inputs_BTE, lengths_B, page, 9), reference(inputs_BTE)[0], **EXACT)


def test_sentence_ends_come_from_the_vocabulary() -> None:
    sizes = {"vocab_size": 5, "num_classes": 2}
    tokens = ["<pad>", "<unk>", "good", ".", "!"]
    assert build_model("md-rnn", sizes, tokens).config.to_dict()["sentence_ends"] == [3, 4]
    assert build_model("md-rnn", sizes | {"sentence_ends": [2]}, tokens).config.to_dict()["sentence_ends"] == [2]


@pytest.mark.parametrize("kind", ["global", "local"])
@pytest.mark.parametrize("score", ["additive", "general", "scaled-dot"])
def test_attention_equals_the_equations(kind: str, score: str) -> None:
    torch.manual_seed(0)
    size, window, lengths_B = 6, 2, torch.tensor([9, 4, 1])
    states_BTS = torch.randn(3, 9, size, dtype=torch.float64)
    query_BQ = torch.randn(3, size, dtype=torch.float64)
    attention = QueryAttention(size, size, kind=kind, score=score, window=window).double()
    p = {name: parameter.detach().numpy() for name, parameter in attention.named_parameters()}
    context_BS, weights_BT = attention(states_BTS, query_BQ, lengths_B)
    for row, length in enumerate(lengths_B.tolist()):
        s, q = states_BTS[row, :length].numpy(), query_BQ[row].numpy()
        if score == "additive":
            e = np.tanh(s @ p["key.weight"].T + p["query.weight"] @ q + p["query.bias"]) @ p["score.weight"][0]
        else:
            e = s @ (p["query.weight"] @ q) if score == "general" else s @ q / math.sqrt(size)
        t, gaussian, inside = np.arange(length), 1.0, np.ones(length, dtype=bool)
        if kind == "local":
            place = (length - 1) / (1 + np.exp(-p["place.weight"][0] @ np.tanh(p["place_key.weight"] @ q)))
            inside = abs(t - place) <= window
            gaussian = np.exp(-((t - place) ** 2) / (2 * (window / 2) ** 2))
        a = np.where(inside, np.exp(e), 0)
        a = a / a.sum() * gaussian
        np.testing.assert_allclose(weights_BT[row, :length].detach().numpy(), a, **EXACT)
        np.testing.assert_allclose(context_BS[row].detach().numpy(), a @ s, **EXACT)
        assert not weights_BT[row, length:].any()
    assert torch.autograd.gradcheck(
        lambda states, query: attention(states, query, lengths_B), (states_BTS.requires_grad_(), query_BQ.requires_grad_())
    )


def test_attention_rnn_reads_context_and_query() -> None:
    torch.manual_seed(0)
    model = build_model("attention-rnn", {"vocab_size": 60, "num_classes": 3}).double().eval()
    ids_BT, lengths_B = random_batch([5, 9, 1])
    s = model.encode(model.embed(ids_BT, lengths_B), ids_BT, lengths_B)
    c = model.attention_weights(ids_BT, lengths_B).unsqueeze(1).bmm(s).squeeze(1).detach().numpy()
    half = s.shape[2] // 2
    q = torch.cat([s[torch.arange(3), lengths_B - 1, :half], s[:, 0, half:]], dim=1).detach().numpy()
    p = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    h = np.tanh(np.concatenate([c, q], axis=1) @ p["combine.weight"].T + p["combine.bias"])
    logits_BC = h @ p["head.weight"].T + p["head.bias"]
    np.testing.assert_allclose(model(ids_BT, lengths_B).detach().numpy(), logits_BC, **EXACT)


@pytest.mark.parametrize("attention", ["global", "local"])
@pytest.mark.parametrize("cell", ["rnn", "birnn", "lstm", "bilstm", "peephole-lstm", "bipeephole-lstm", "gru", "bigru"])
def test_attention_stands_on_every_cell(cell: str, attention: str) -> None:
    model = build_model(
        "attention-rnn", {"vocab_size": 60, "num_classes": 2, "cell": cell, "attention": attention, "window": 2}
    )
    ids_BT, lengths_B = random_batch([5, 9, 1])
    weights_BT = model.attention_weights(ids_BT, lengths_B)
    torch.testing.assert_close(weights_BT.sum(dim=1), torch.ones(3))
    assert not weights_BT[0, 5:].any() and (weights_BT >= 0).all()
    assert ((weights_BT > 0).sum(dim=1) <= 5).all() or attention == "global", "local attention sees a window"
    model(ids_BT, lengths_B).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_transformer_layer_equals_torchs() -> None:
    torch.manual_seed(0)
    ours = TransformerLayer(8, 2, 16, dropout=0.0).double()
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    pairs = {
        "self_attn.in_proj": ours.qkv,
        "self_attn.out_proj": ours.out,
        "linear1": ours.feedforward[0],
        "linear2": ours.feedforward[3],
        "norm1": ours.norm_attention,
        "norm2": ours.norm_feedforward,
    }
    with torch.no_grad():
        for name, module in pairs.items():
            for part in ("weight", "bias"):
                nn.init.uniform_(module.get_parameter(part))
                separator = "_" if name.endswith("in_proj") else "."
                theirs.get_parameter(f"{name}{separator}{part}").copy_(module.get_parameter(part))
    values_BTH = torch.randn(2, 5, 8, dtype=torch.float64)
    mask_BT = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected = theirs(values_BTH, src_key_padding_mask=~mask_BT)
    torch.testing.assert_close(ours(values_BTH, mask_BT)[mask_BT], expected[mask_BT], **EXACT)


@pytest.mark.parametrize("features", [6, 7])
def test_sinusoids_equal_the_formula(features: int) -> None:
    found = sinusoids(50, features, torch.device("cpu"))
    for t, feature in itertools.product(range(50), range(features)):
        angle = t / 10000 ** (feature // 2 * 2 / features)
        assert found[t, feature] == pytest.approx(math.sin(angle) if feature % 2 == 0 else math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_bag_equals_a_sum_over_features(ngrams: int) -> None:
    torch.manual_seed(0)
    model = build_model("bag", {"vocab_size": 60, "num_classes": 2, "ngrams": ngrams, "buckets": 50}).double().eval()
    if model.ngram_embedding is not None:
        with torch.no_grad():
            model.ngram_embedding.weight[1:].normal_()
    ids_BT, lengths_B = random_batch([6, 2, 1])
    for row, length in enumerate([6, 2, 1]):
        ids = ids_BT[row, :length].tolist()
        vectors = [model.embedding.weight[token] for token in ids]
        for size in range(2, ngrams + 1):
            for start in range(length - size + 1):
                code = ids[start]
                for token in ids[start + 1 : start + size]:
                    code = (code * 116049371 + token) % (2**31 - 1)
                vectors.append(model.ngram_embedding.weight[code % 49 + 1])
        expected = model.head(torch.stack(vectors).mean(dim=0))
        torch.testing.assert_close(model(ids_BT, lengths_B)[row], expected, **EXACT)
