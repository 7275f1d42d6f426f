"""Where the checkout is, and the real reviews beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMDB_ARCHIVE = ROOT.parent / "shared" / "data" / "imdb-train.tar.gz"
