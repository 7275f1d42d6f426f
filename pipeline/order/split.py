"""The validation part: by group, hashed, stratified by label. A pure function of the rows, never of the training seed."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

SPLIT_SALT = b"review-pipeline/validation/1"
"""Keys the hash. A different salt gives a different validation part, so metrics of old models are no longer comparable."""


def unit_hashes(review_ids: Sequence[str], groups: Sequence[str | None]) -> Hashes:
    """64-bit hashes of what must stay together: the row's group, or its review ID without one."""
    hashed = np.empty(len(review_ids), dtype=np.uint64)
    known: dict[str, int] = {}
    for row, (review_id, group) in enumerate(zip(review_ids, groups, strict=True)):
        if group is None:
            hashed[row] = _hash(b"review\0", review_id)
        else:
            if group not in known:
                known[group] = _hash(b"group\0", group)
            hashed[row] = known[group]
    return hashed


def choose_validation(hashes: Hashes, labels: Ints, fraction: float) -> npt.NDArray[np.bool_]:
    """Selects rows for validation: units in the order of their hashes, each taken completely while it fits every quota.

    A label's quota is the fraction of its rows, at least one and never all of them. A label without a fitting unit gets the
    unit that exceeds the quotas least, as long as every label keeps rows for training; otherwise the part goes without it.

    Args:
        hashes: (N,) the unit of each row, see `unit_hashes`.
        labels: (N,) from 0.

    Raises:
        DataError: the part would be empty: the units are too large, or the labels have one row each.
    """
    units, unit_of_row = np.unique(hashes, return_inverse=True)
    num_labels = int(labels.max()) + 1 if len(labels) else 0
    counts = np.bincount(unit_of_row * num_labels + labels, minlength=len(units) * num_labels).reshape(
        len(units), num_labels
    )
    total = counts.sum(axis=0)
    quota = np.where(total > 1, np.clip(np.rint(total * fraction), 1, np.maximum(total - 1, 1)), 0).astype(np.int64)
    chosen = np.zeros(len(units), dtype=bool)
    left = quota.copy()
    singles = counts.sum(axis=1) == 1
    for unit in _candidates(counts, singles, quota):
        if (counts[unit] <= left).all():
            chosen[unit] = True
            left -= counts[unit]
            if not left.any():
                break
    for label in np.flatnonzero((left == quota) & (quota > 0)):
        if counts[chosen][:, label].any():
            continue
        taken = counts[chosen].sum(axis=0)
        holders = np.flatnonzero((counts[:, label] > 0) & ~chosen)
        fitting = [unit for unit in holders if ((taken + counts[unit] < total) | (total == 0)).all()]
        if not fitting:
            continue
        over = [int(np.maximum(0, taken + counts[unit] - quota).sum()) for unit in fitting]
        chosen[fitting[int(np.argmin(over))]] = True
    if not chosen.any():
        grouped = len(units) < len(labels)
        remedy = "Use finer groups (--group-column)" if grouped else "Ingest more reviews of each label"
        raise DataError(
            f"cannot create a validation part: the {len(labels)} labelled rows form {len(units)} groups, and holding out "
            f"any of them would leave a label without training rows. {remedy}, or set the split 'valid' at ingest (--split)."
        )
    return chosen[unit_of_row]


def _candidates(counts: npt.NDArray[np.int64], singles: npt.NDArray[np.bool_], quota: Ints) -> list[int]:
    """Units worth considering, in hash order; of units with one row, only as many as the quotas could take."""
    wanted = ~singles
    for label in range(len(quota)):
        of_label = np.flatnonzero(singles & (counts[:, label] > 0))
        wanted[of_label[: quota[label]]] = True
    return [int(unit) for unit in np.flatnonzero(wanted)]


def _hash(kind: bytes, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(kind + name.encode(), digest_size=8, key=SPLIT_SALT).digest(), "little")
