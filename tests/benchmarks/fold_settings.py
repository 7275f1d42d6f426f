"""What `folds.py` compares: options of `pipeline crossval` and `pipeline train`, by name."""

BEFORE = (
    *("--no-wide", "--no-calibrate", "--select", "loss", "--class-weights", "none", "--adversarial", "0"),
    *("--epochs", "3", "--lr", "0.001", "--schedule", "constant", "--unlabelled", "0", "--embedding-init", "random"),
)
"""What `pipeline train` did before there was a linear path."""

CROSSVAL: dict[str, tuple[str, ...]] = {
    "nbsvm": ("--arch", "nbsvm"),
    "before": BEFORE,
    "default": (),
    "fast": ("--config", "fast"),
    "best": ("--config", "best"),
}

RECIPE = ("--no-wide", "--no-baseline", "--unlabelled", "0")
"""The ablation looks at the recurrent part alone, on labels alone, and changes one thing of the default at a time."""

ABLATION: dict[str, tuple[str, ...]] = {
    "network, labels only": (),
    "random embeddings": ("--embedding-init", "random"),
    "constant lr": ("--schedule", "constant"),
    "lr 0.002": ("--lr", "0.002"),
    "adversarial 0.5": ("--adversarial", "0.5"),
    "word dropout 0.1": ("--word-dropout", "0.1"),
    "locked dropout 0.3": ("--locked-dropout", "0.3", "--embedding-dropout", "0"),
    "no average": ("--average", "0"),
    "chosen by loss": ("--select", "loss"),
    "first and last 200": ("--truncation", "head-tail"),
    "wide": ("--wide",),
    "two unlabelled for each labelled": ("--unlabelled", "2"),
    "seed 1": ("--seed", "1"),
    "seed 2": ("--seed", "2"),
}
