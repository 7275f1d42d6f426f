"""The floor: forward, backward, clipping and Adam on our model, batches ready in memory, and nothing around them."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from train_common import DEFAULTS, arguments, first_model, parts_of, ready_batches, run

from pipeline.datapipes.train_collate import Batch
from pipeline.engines.memory import keep_freed_memory


def main() -> None:
    parser = arguments()
    parser.add_argument("--keep-memory", action="store_true", help="malloc as `pipeline train` sets it")
    options = parser.parse_args()
    if options.keep_memory:
        keep_freed_memory()
    data, train, _ = parts_of(options.lake)
    model = first_model(data, options.arch, options.hidden).train()
    model = model.double() if options.double else model
    optimizer = torch.optim.Adam(model.parameters(), lr=DEFAULTS.lr, fused=True)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(model(batch.ids, batch.lengths), batch.labels)
        loss.backward()
        clip_grad_norm_(model.parameters(), DEFAULTS.clip_norm)
        optimizer.step()
        return loss

    run(step, ready_batches(train, options.steps), options.output)


if __name__ == "__main__":
    main()
