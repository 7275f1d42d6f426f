"""What it costs to start: `pipeline score` of ten reviews beside the bare import of torch, as whole processes.

python -m tests.benchmarks.bench_score_start                 bilstm 128 over 30,000 words, 5 rounds
"""

import argparse
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.bench_score import make_bundle
from tests.benchmarks.harness import Contestant, Row, machine, markdown, run_in_turn
from tests.benchmarks.reviews import write_reviews

LOAD = """
from pathlib import Path
from pipeline.models.bundle import read_bundle
bundle = read_bundle(Path({bundle!r}))
bundle.load_vocabulary(), bundle.load_model()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up of pipeline score.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--arch", default="bilstm")
    parser.add_argument("--hidden", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_reviews(folder / "many.parquet", 25_000)
        bundle = make_bundle(folder / "lake", folder / "many.parquet", options.arch, options.hidden)
        write_reviews(folder / "ten.parquet", 10)
        score = ["-m", "pipeline", "-q", "score", folder / "ten.parquet", "--lake", folder / "lake", "--force"]
        code = {
            "import torch": "import torch",
            "import torch, load the model": "import torch" + LOAD.format(bundle=str(bundle)),
        }
        contestants = [Contestant(name=name, command=[sys.executable, "-c", text]) for name, text in code.items()]
        contestants.append(Contestant(name="pipeline score of ten reviews", command=[sys.executable, *score]))
        results = run_in_turn(contestants, options.rounds)
    rows = [Row.of(result) for result in results.values()]
    print(f"\n{options.arch} {options.hidden}, {machine()}\n\n{markdown(rows, 'import torch', 10, 'reviews')}")


if __name__ == "__main__":
    main()
