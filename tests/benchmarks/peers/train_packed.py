"""The way that torch's documentation shows: a bidirectional `nn.LSTM` over packed sequences. Batches ready in memory."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from train_common import DEFAULTS, arguments, first_model, parts_of, ready_batches, run, stepper

from pipeline.models.interface import ReviewClassifier


class Packed(nn.Module):
    """The same model with the same weights: embedding, LSTM both ways, largest and mean state, a linear layer."""

    def __init__(self, ours: ReviewClassifier) -> None:
        super().__init__()
        self.embedding, self.head = ours.embedding, ours.head
        directions = {"": ours.encoder.forward_layers[0], "_reverse": ours.encoder.backward_layers[0]}
        self.lstm = nn.LSTM(self.embedding.embedding_dim, directions[""].hidden_size, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for suffix, layer in directions.items():
                for name, parameter in layer.named_parameters():
                    self.lstm.get_parameter(name + suffix).copy_(parameter)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        mask = (torch.arange(states.shape[1]) < lengths.unsqueeze(1)).unsqueeze(-1)
        largest = states.masked_fill(~mask, float("-inf")).amax(dim=1)
        mean = (states * mask).sum(dim=1) / lengths.unsqueeze(1)
        return self.head(torch.cat([largest, mean], dim=1))


def main() -> None:
    options = arguments().parse_args()
    data, train, _ = parts_of(options.lake)
    model = Packed(first_model(data, "bilstm", options.hidden))
    model = model.double() if options.double else model
    optimizer = torch.optim.Adam(model.parameters(), lr=DEFAULTS.lr)

    run(stepper(model, optimizer), ready_batches(train, options.steps), options.output)


if __name__ == "__main__":
    main()
