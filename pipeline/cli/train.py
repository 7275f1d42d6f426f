"""`pipeline train`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.app import LakeOption, app, finish, lake_of
from pipeline.cli.options import DeviceOption, PrecisionOption, TokensOption, VocabularyOption
from pipeline.errors import UsageError, unknown_choice

MODEL_OPTIONS = ("embedding_dim", "hidden_dim", "layers", "dropout", "embedding_dropout", "pooling", "cell", "attention")
"""Options that are the architecture's own: left to its defaults when not given, refused where it has no such option."""


def _own(text: str) -> Any:
    return typer.Option(help=f"{text}  [default: the architecture's]", show_default=False)


def _load_config(context: typer.Context, given: str | None) -> str | None:
    """Makes the options of `--config` the defaults; what stands on the command line wins."""
    if given is None:
        return None
    from pipeline.presets import read_options

    known = {
        option.removeprefix("--"): str(parameter.name)
        for parameter in context.command.params
        for option in parameter.opts
        if option.startswith("--") and option not in ("--config", "--help", "--lake")
    }
    defaults: dict[str, Any] = {}
    for key, value in read_options(given).items():
        name = known.get(key.replace("_", "-"))
        if name is None:
            raise unknown_choice(f"--config {given}", key, known)
        if isinstance(value, dict):
            value = [f"{field}={item}" for field, item in value.items()]
        defaults[name] = value if isinstance(value, bool | list) else str(value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return given


@app.command()
def train(
    context: typer.Context,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            is_eager=True,
            callback=_load_config,
            help="TOML file of options, or a preset: book-rnn, book-bilstm, book-bigru, demo. The command line wins.  "
            "[default: none]",
            show_default=False,
        ),
    ] = None,
    arch: Annotated[str, typer.Option(help="The architecture; 'pipeline models --archs' lists them.")] = "bilstm",
    epochs: Annotated[int, typer.Option(help="Passes over the training part.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Reviews in a step, over all workers.")] = 64,
    lr: Annotated[float, typer.Option(help="Learning rate of Adam.")] = 1e-3,
    schedule: Annotated[str, typer.Option(help="constant, linear or cosine, down to 0 at the end.")] = "constant",
    warmup: Annotated[int, typer.Option(help="Steps over which the learning rate rises.")] = 0,
    clip_norm: Annotated[float, typer.Option(help="Largest norm of the gradient; 0 for any.")] = 1.0,
    average: Annotated[float, typer.Option(help="Decay of the averaged weights, such as 0.99; 0 for none.")] = 0.998,
    patience: Annotated[int, typer.Option(help="Stop after so many epochs without a better one; 0 for never.")] = 0,
    class_weights: Annotated[str, typer.Option(help="none, or balanced: rare classes weigh more.")] = "none",
    max_length: Annotated[int, typer.Option(help="Tokens of a review that are read.")] = 400,
    embedding_dim: Annotated[int | None, _own("Width of the embedding.")] = None,
    hidden_dim: Annotated[int | None, _own("Width of a layer, in each direction.")] = None,
    layers: Annotated[int | None, _own("Recurrent layers.")] = None,
    dropout: Annotated[float | None, _own("Dropout.")] = None,
    embedding_dropout: Annotated[float | None, _own("Dropout of the embedded tokens.")] = None,
    pooling: Annotated[str | None, _own("How states become one: last, max, mean, …")] = None,
    cell: Annotated[str | None, _own("Of attention-rnn: what it reads with: rnn, bilstm, gru, …")] = None,
    attention: Annotated[str | None, _own("Of attention-rnn: global, or local: a window of tokens.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            show_default=False,
            help="Any further option of the architecture; may be repeated.  [default: none]",
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Word vectors to start from: GloVe's text, or .parquet (token, vector); they set the width.  "
            "[default: none]",
        ),
    ] = None,
    embedding_update: Annotated[
        str, typer.Option(help="dense, sparse (rows of the batch only), or auto: what is faster.")
    ] = "auto",
    valid_fraction: Annotated[
        float, typer.Option(help="Share held out where there is no split 'valid'; whole groups.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Of weights, order and dropout.")] = 0,
    lanes: Annotated[int, typer.Option(help="Lanes that a batch is dealt from; at most so many workers.")] = 16,
    window_rows: Annotated[int, typer.Option(help="Reviews that are shuffled together, over all workers.")] = 32_768,
    tokens: TokensOption = None,
    vocabulary: VocabularyOption = None,
    table_version: Annotated[
        int | None, typer.Option(show_default=False, help="Version of the table.  [default: the newest]")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    workers: Annotated[int, typer.Option(help="Threads that read and decode, in each process; 0 for none.")] = 2,
    nproc: Annotated[str, typer.Option(metavar="N|gpu", help="Processes that train together; gpu: one for each.")] = "1",
    max_restarts: Annotated[int, typer.Option(help="Restarts when one of several processes dies.")] = 3,
    checkpoint_every: Annotated[
        str, typer.Option(metavar="INTERVAL", help="Steps (200) or time (60s, 5m); 0 for the ends of epochs only.")
    ] = "60s",
    keep_checkpoints: Annotated[int, typer.Option(help="Newest checkpoints that are kept.")] = 3,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished training of the same options, if any.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Train even if the same model is there already.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events to runs/tensorboard/.")
    ] = False,
    lake: LakeOption = None,
) -> None:
    """Train a classifier on the token shards and leave a model bundle in models/.

    Keeps the weights that did best on the validation part; tests them once if there is a split 'test'. Ends with 99
    when the same data was trained with the same options before.

    Example: pipeline train --arch bilstm --epochs 5
    """
    values = locals()
    given = {name: values[name] for name in MODEL_OPTIONS if values[name] is not None}
    from jobs import train as job

    settings = job.TrainConfig(
        lake=lake_of(context, lake),
        arch=arch,
        tokens=tokens,
        vocabulary=vocabulary,
        table_version=table_version,
        model={**given, **_parse_settings(set_ or [])},
        embeddings=embeddings,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        clip_norm=clip_norm,
        average=average,
        patience=patience,
        class_weights=class_weights,
        embedding_update=embedding_update,
        max_length=max_length,
        valid_fraction=valid_fraction,
        seed=seed,
        lanes=lanes,
        window_rows=window_rows,
        device=device,
        precision=precision,
        workers=workers,
        nproc=nproc,
        max_restarts=max_restarts,
        checkpoint_every=checkpoint_every,
        keep_checkpoints=keep_checkpoints,
        resume=resume,
        force=force,
        tensorboard=tensorboard,
    )
    job.start(settings, finish)


def _parse_settings(settings: list[str]) -> dict[str, Any]:
    """`name=value` pairs; values are read as JSON where they are JSON (numbers, true, lists), else as text."""
    import json

    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: expected name=value, such as --set window=20.")
        try:
            found[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            found[name.replace("-", "_")] = text
    return found
