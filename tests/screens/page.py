"""The screens of docs/terminal.md: which command, and what to say of it."""

from dataclasses import dataclass
from pathlib import Path

WIDTHS = (80, 120)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A command and its picture. `hidden` runs before it, out of sight."""

    name: str
    title: str
    command: str
    hidden: str = ""
    codes: tuple[int, ...] = ()


SCREENS = (
    Screen(name="pipeline", title="pipeline", command="pipeline"),
    Screen(name="train-help", title="train --help", command="pipeline train --help"),
    Screen(name="init", title="init", command="pipeline init Reviews.csv --lake shop"),
    Screen(name="ingest", title="ingest", command="pipeline ingest --lake shop"),
    Screen(name="ingest-again", title="Nothing new", command="pipeline ingest --lake shop", codes=(99,)),
    Screen(
        name="sample",
        title="sample",
        command="pipeline sample --reviews 800 --test-reviews 400 --unsup 0 --score-input new.parquet",
    ),
    Screen(
        name="train",
        title="train",
        command="pipeline train --arch bilstm --config demo --epochs 2",
        hidden="pipeline -q ingest > /dev/null 2>&1",
    ),
    Screen(name="train-nbsvm", title="train, the linear model", command="pipeline train --arch nbsvm"),
    Screen(name="score", title="score", command="pipeline score new.parquet"),
    Screen(
        name="score-text", title="score --text", command="pipeline score --text 'I loathed it: dull and boring.' --explain"
    ),
    Screen(name="evaluate", title="evaluate", command="pipeline evaluate"),
    Screen(name="report", title="report", command="pipeline report --predictions lake/predictions/new.parquet"),
    Screen(name="crossval", title="crossval", command="pipeline crossval --arch nbsvm --folds 2"),
    Screen(name="export", title="export", command="pipeline export"),
    Screen(name="vacuum", title="vacuum", command="pipeline vacuum", codes=(99,)),
    Screen(name="repair", title="repair", command="pipeline repair", codes=(99,)),
    Screen(name="error", title="A mistake", command="pipeline score new.parquet --model nbsvn", codes=(66,)),
    Screen(name="status", title="status", command="pipeline status", codes=(0, 1)),
    Screen(name="runs", title="runs", command="pipeline runs"),
    Screen(
        name="runs-show", title="runs show", command="pipeline runs show $(ls lake/runs | grep score | head -1 | cut -c1-19)"
    ),
    Screen(name="models", title="models", command="pipeline models"),
    Screen(name="models-show", title="models show", command="pipeline models show"),
)

HEAD = """\
# In a terminal

What each command prints in a terminal with 80 and 120 columns. `make screens` runs the commands and draws these pictures.
If stdout is not a terminal, or with `--json`, the last line is a JSON receipt instead.

Progress bars disappear when done. `--quiet` shows only warnings and errors; `--verbose` logs every step and the source of
each option. `pipeline --install-completion` completes commands, options, architectures, presets, models and runs.
"""


def page(folder: Path) -> str:
    """docs/terminal.md, with the pictures that are in `folder`."""
    parts = [HEAD]
    for screen in SCREENS:
        parts.append(f"\n## {screen.title}\n")
        for width in WIDTHS:
            if not (folder / f"{screen.name}-{width}.svg").exists():
                continue
            text = f"`{screen.command}` in {width} columns".replace("`", "")
            parts.append(f"\n![{text}](screens/{screen.name}-{width}.svg)\n")
    return "".join(parts)
