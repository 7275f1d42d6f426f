"""Kinds of files in a lake on a store, by their names: what is large, what names other files, who removes what."""

import re

ENTRY = re.compile(r"tokens/_delta_log/\d{20}\.json")
"""An entry of the table's log: a commit."""
SHARD = re.compile(r"tokens/[^/]+\.parquet")
SMALL = ("tokens/", "vocabulary/", "models/", "pretrained/", "runs/", "retracted/", "erased/", "predictions/.notes/")
"""Folders whose files every command fetches. All others are fetched when something asks for them: `raw/` may be large, and
what a lake does not know, such as another lake below its prefix, is somebody else's."""
TOP = ("pipeline.toml", "index.html")
"""Files of a lake that are in no folder."""
REMOVES = {
    "vacuum": ("",),
    "erase": ("",),
    "repair": ("",),
    "upgrade": ("models/", "predictions/", "crossval/"),
    "retract": ("retracted/",),
    "train": ("checkpoints/", "crossval/"),
    "pretrain": ("checkpoints/", "crossval/"),
    "crossval": ("checkpoints/", "crossval/"),
    "nightly": ("logs/",),
}
"""What a command may remove in the store. All else that is missing in a working copy was lost, and is fetched again."""
DATA, DESCRIPTION, LOG_ENTRY, DECISIONS, POINTER, HISTORY, RECORD = range(7)
"""The order in which files are put into a store, and fetched: each names only files of the kinds before it, and a run that
is killed in between leaves what one that was killed in a folder would leave."""
_RANKS = {
    "model.json": DESCRIPTION,
    "pretrained.json": DESCRIPTION,
    "training.json": DESCRIPTION,
    "decisions.jsonl": DECISIONS,
    "LATEST": POINTER,
    "_last_checkpoint": POINTER,
    "live.jsonl": HISTORY,
}


def is_large(name: str) -> bool:
    """Whether a file is fetched only when something asks for it."""
    if SHARD.fullmatch(name) is not None:
        return True
    return not (name.startswith(SMALL) or name.endswith("/training.json") or name in TOP)


def is_immutable(name: str) -> bool:
    """Whether every file of this name has the same content: it is named by its content, or belongs to one run only."""
    return SHARD.fullmatch(name) is not None or name.startswith(("checkpoints/", "models/", "pretrained/", "crossval/"))


def is_derived(name: str) -> bool:
    """Whether a file is made from others and whoever writes last is right: the morning page, and a hint to readers of the
    table's log."""
    return name in ("index.html", "tokens/_delta_log/_last_checkpoint")


def is_journal(name: str) -> bool:
    """Whether a file consists of lines that are only ever added, so that two versions of it can be merged."""
    return name.endswith(("/live.jsonl", "/decisions.jsonl")) or (
        name.startswith("predictions/.notes/") and name.endswith(".inputs")
    )


def is_set_aside(name: str) -> bool:
    """Whether a file was damaged, and `repair` has kept it."""
    return name.startswith(".damaged/")


def rank(name: str) -> int:
    """The place of a file in the order."""
    if ENTRY.fullmatch(name):
        return LOG_ENTRY
    return RECORD if name.startswith("runs/") else _RANKS.get(name.rpartition("/")[2], DATA)


def removes(command: str, name: str) -> bool:
    """Whether a command removes such files in the store when it has removed them in its working copy."""
    return name.startswith(REMOVES.get(command, ())) if command in REMOVES else False
