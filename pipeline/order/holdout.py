"""Reviews that a lake without labelled `test` reviews holds out of every training. A pure function of each review's group or
ID, so what is held out once stays held out as the lake grows."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HOLDOUT_SALT = b"holdout-1:"
"""Begins what is hashed. Another salt gives another test part, whose reviews earlier models were trained on."""
FEWEST_ROWS = 20
"""Fewer labelled reviews than this cannot judge a model, so none are held out."""
MOST_SHARE = 0.5
"""Where a few large groups would take more than this share of the labelled reviews, none are held out."""


def held_out(review_ids: Sequence[str], groups: Sequence[str | None], share: float) -> npt.NDArray[np.bool_]:
    """Whether each review is held out (N,): its group, or its ID without one, has one of the first `share` of all hashes."""
    limit = int(share * 2**64)
    known: dict[str, bool] = {}
    held = np.empty(len(review_ids), np.bool_)
    for row, (review_id, group) in enumerate(zip(review_ids, groups, strict=True)):
        if group is None:
            held[row] = _hash(b"review\0", review_id) < limit
        else:
            if group not in known:
                known[group] = _hash(b"group\0", group) < limit
            held[row] = known[group]
    return held


def _hash(kind: bytes, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(HOLDOUT_SALT + kind + name.encode(), digest_size=8).digest(), "big")
