"""The book's way: one review at a time, a Python loop over the words, the model called with a batch of one.

Its LSTM reads a packed sequence and its RNN the unpadded review, as in the book.
"""

import json
import sys
import time

import numpy as np
import torch
from score_common import Ids, arguments, save, texts
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.models.bundle import read_bundle
from pipeline.models.layers.recurrent import Recurrent


class PackedLSTM(nn.Module):
    """`nn.LSTM` in one direction or both, with the weights of our encoder."""

    def __init__(self, encoder: Recurrent) -> None:
        super().__init__()
        first = encoder.forward_layers[0]
        self.lstm = nn.LSTM(
            first.input_size,
            first.hidden_size,
            len(encoder.forward_layers),
            batch_first=True,
            bidirectional=encoder.bidirectional,
        )
        for layers, suffix in ((encoder.forward_layers, ""), (encoder.backward_layers, "_reverse")):
            for number, layer in enumerate(layers):
                for name, parameter in layer.named_parameters():
                    self.lstm.get_parameter(name.replace("_l0", f"_l{number}{suffix}")).data.copy_(parameter)

    def forward(self, embedded_BTE: Tensor, lengths_B: Tensor) -> Tensor:
        packed = pack_padded_sequence(embedded_BTE, lengths_B, batch_first=True)
        return pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


def main() -> None:
    options = arguments()
    bundle = read_bundle(options.bundle)
    model = bundle.load_model("cpu")
    if bundle.arch in ("lstm", "bilstm"):
        model.encoder = PackedLSTM(model.encoder).eval()
    ids = Ids(options.bundle, bundle.max_length)
    reviews = texts(options.input, options.rows)
    positive = []
    started = time.perf_counter()
    for text in reviews:
        tokens = torch.tensor([ids(text)])
        with torch.no_grad():
            logits = model(tokens, torch.tensor([tokens.shape[1]]))
        positive.append(torch.softmax(logits, dim=1)[0, 1].item())
    seconds = time.perf_counter() - started
    save(options.output, np.array(positive))
    sys.stdout.write(json.dumps({"loop_seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
