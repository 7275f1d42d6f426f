"""The floor: forward, backward, clipping and Adam on our model, batches ready in memory, and nothing around them."""

import torch
from train_common import DEFAULTS, arguments, first_model, parts_of, ready_batches, run, stepper

from pipeline.process import keep_freed_memory


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

    run(stepper(model, optimizer), ready_batches(train, options.steps), options.output)


if __name__ == "__main__":
    main()
