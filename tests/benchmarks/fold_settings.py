"""What `folds.py` compares: options of `pipeline crossval` and `pipeline train`, by name."""

BEFORE = (
    *("--no-wide", "--no-calibrate", "--select", "loss", "--class-weights", "none", "--adversarial", "0"),
    *("--epochs", "3", "--lr", "0.001", "--schedule", "constant"),
)
"""What `pipeline train` did before there was a linear path."""

CANDIDATE = ("--epochs", "4", "--lr", "0.002", "--schedule", "linear", "--adversarial", "0.5")
"""What may become the default: adversarial steps from the second epoch on, and a learning rate that ends at 0."""

CROSSVAL: dict[str, tuple[str, ...]] = {
    "nbsvm": ("--arch", "nbsvm"),
    "before": BEFORE,
    "default": (),
    "candidate": CANDIDATE,
    "fast": ("--config", "fast"),
    "best": ("--config", "best"),
}

RECIPE = ("--no-wide", "--no-baseline", *CANDIDATE)
"""The ablation looks at the recurrent part alone, and changes one thing of the candidate at a time."""

ABLATION: dict[str, tuple[str, ...]] = {
    "candidate": (),
    "wide": ("--wide",),
    "no adversarial": ("--adversarial", "0"),
    "adversarial 0.25": ("--adversarial", "0.25"),
    "adversarial 1": ("--adversarial", "1"),
    "adversarial from the start": ("--adversarial-warmup", "0"),
    "word dropout 0.1": ("--word-dropout", "0.1"),
    "word dropout 0.3": ("--word-dropout", "0.3"),
    "locked dropout 0.3": ("--locked-dropout", "0.3", "--embedding-dropout", "0"),
    "embedding dropout 0.2": ("--embedding-dropout", "0.2"),
    "embeddings N(0, 0.03)": ("--embedding-std", "0.03"),
    "embeddings N(0, 0.3)": ("--embedding-std", "0.3"),
    "embeddings N(0, 1)": ("--embedding-std", "1"),
    "lr 0.001": ("--lr", "0.001"),
    "lr 0.004": ("--lr", "0.004"),
    "constant lr": ("--schedule", "constant"),
    "cosine": ("--schedule", "cosine"),
    "no average": ("--average", "0"),
    "average 0.9995": ("--average", "0.9995"),
    "chosen by loss": ("--select", "loss"),
    "first and last 200": ("--truncation", "head-tail"),
    "1000 tokens": ("--max-length", "1000"),
    "256 wide": ("--hidden-dim", "256"),
    "seed 1": ("--seed", "1"),
    "seed 2": ("--seed", "2"),
}
