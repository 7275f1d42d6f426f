"""What rank 0 of a training does alone before the first step, by number of reviews: footers, selection, parts.

    python -m tests.benchmarks.scale_selection 100000     JSON: seconds of each, peak MiB

The shards have short reviews: none of this reads token IDs.
"""

import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.lake.shards import plain_shards
from pipeline.order.options import OrderOptions
from pipeline.order.order import Order
from pipeline.order.selection import select
from pipeline.tasks.classification import Classification
from tests.benchmarks.harness import ROOT

SHORT = 12
WRITE = """
import sys
from pathlib import Path
from tests.benchmarks.synthetic_shards import write_shards
write_shards(Path(sys.argv[1]), int(sys.argv[2]), mean_length=int(sys.argv[3]))
"""


def main(rows: int) -> dict[str, float]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="bench-selection-") as temporary:
        folder = Path(temporary) / "shards"
        written = [sys.executable, "-c", WRITE, str(folder), str(rows), str(SHORT)]
        subprocess.run(written, cwd=ROOT, check=True)  # its memory is not ours
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        moments = [time.perf_counter()]
        shards = plain_shards(folder)
        moments.append(time.perf_counter())
        selection, _ = select(shards, Classification(("neg", "pos")), 0.1, holdout=0.1)
        moments.append(time.perf_counter())
        parts = [selection.part(name) for name in ("train", "valid", "test")]
        moments.append(time.perf_counter())
        order = Order(parts[0].rows_per_group, OrderOptions(batch_size=64), 0)
        order.segments(0, 0)
        moments.append(time.perf_counter())
        footers, selecting, parting, ordering = (end - begin for begin, end in itertools.pairwise(moments))
        return {
            "rows": rows,
            "shards": len(shards),
            "footers_seconds": round(footers, 3),
            "select_seconds": round(selecting, 3),
            "parts_seconds": round(parting, 3),
            "order_seconds": round(ordering, 3),
            "parts_mib": round(sum(rows.nbytes for part in parts for rows in part.selected) / 2**20, 1),
            "peak_mib_before": round(before),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
