"""Drift at score time: false alarms on reviews of other films, and detection of foreign reviews among them.

    python tests/benchmarks/drift.py ARCHIVE.tar.gz FOLDER [--arch nbsvm]

The films of the archive's labelled reviews (Maas et al. 2011) are divided by hash: a half to train on (validation
included), a quarter to choose the thresholds with, a quarter for the claims. FOLDER keeps lake and model. Every draw takes
whole films at random until it has 500 reviews; with a share of another kind mixed in, so many of them are replaced. Kinds:

    synthetic        reviews of 'pipeline sample'
    other language   the film reviews with their 3,000 most frequent words replaced by made-up ones, always the same
    short            the first two sentences of film reviews
    horror           film reviews with at least three words of horror
    negative         only reviews with negative labels

What is compared, and how, is `pipeline.scoring.drift`, as in 'pipeline score'; `--check N` scores N draws with the command
itself and compares its figures.
"""

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.config.score import DEFAULT_DRIFT_P_VALUE, DEFAULT_DRIFT_WARN
from pipeline.datapipes.score_encode import encode_texts
from pipeline.lake.paths import Lake
from pipeline.models.bundle import Bundle, find_bundle
from pipeline.scoring.drift import Drift, Observed, Reference, Reviews, compare, make_reference
from pipeline.scoring.predictor import Predictor
from pipeline.scoring.reference import read_reference
from tests.benchmarks.harness import ROOT
from tests.benchmarks.imdb_tables import read_reviews

DRAWS, ROWS = 200, 500
SHARES = (0.1, 0.25, 0.5)
PARTS = {"train": (0, 50), "choose": (50, 75), "claim": (75, 100)}
HORROR = {"horror", "slasher", "gore", "zombie", "zombies", "scary", "killer", "blood", "monster", "vampire", "ghost"}
"""Chosen by their meaning, not by what they do to the figures."""
FOREIGN_WORDS = 3000


@dataclass(frozen=True)
class Pool:
    """Scored reviews to draw from; `film_N` is what they come by."""

    texts: list[str]
    film_N: npt.NDArray[np.int64]
    reviews: Reviews

    def take(self, rows: npt.NDArray[np.int64]) -> Reviews:
        found = self.reviews
        return Reviews(found.length_N[rows], found.unknown_N[rows], found.probability_NC[rows])


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    tables = _tables(options.archive)
    bundle = _trained(options, tables["train"])
    reference = read_reference(bundle.folder)
    assert reference is not None
    print(f"{bundle.model_id}: reference of {reference.rows:,} reviews of {reference.groups:,} films; design effects:")
    print({name: (round(one.design_effect, 2), round(one.mean, 4)) for name, one in reference.features.items()})
    with Predictor(bundle) as predictor:
        pools = {part: _pool(predictor, tables[part]) for part in ("choose", "claim")}
        for part in [*(["choose"] if options.choose else []), "claim"]:
            others = {kind: _pool(predictor, rows) for kind, rows in _kinds(options, tables[part]).items()}
            _report(part, reference, pools[part], others, options)
        _other_references(reference, pools, options)
        if options.check:
            _check(options, bundle, reference, pools["claim"])


def _report(part: str, reference: Reference, pool: Pool, others: dict[str, Pool], options: argparse.Namespace) -> None:
    unknown = {
        kind: one.reviews.unknown_N.sum() / one.reviews.length_N.sum() for kind, one in {"films": pool, **others}.items()
    }
    films = len(np.unique(pool.film_N))
    print(f"\n{part}: {len(pool.texts):,} reviews of {films:,} films; PSI > {options.psi}, p < {options.p}")
    print("unknown tokens: " + ", ".join(f"{kind} {share:.1%}" for kind, share in unknown.items()))
    print(f"{'':22}  drifted  past both limits by feature; 95 % quantile of PSI by feature")
    _line("no other reviews", [_compare(reference, one, options) for one in _draws(pool, None, 0.0, part)])
    for kind, other in others.items():
        for share in SHARES:
            _line(f"{share:.0%} {kind}", [_compare(reference, one, options) for one in _draws(pool, other, share, part)])


def _other_references(reference: Reference, pools: dict[str, Pool], options: argparse.Namespace) -> None:
    """False alarms with references of other films, as large as the model's, and for inputs of other sizes."""
    others, generator = pools["choose"], np.random.default_rng(2)
    print("\nno other reviews, each draw with a reference of other films:")
    for rows in (100, 200, 500, 2000):
        found = []
        for reviews in _draws(pools["claim"], None, 0.0, f"{rows} rows", rows):
            chosen = _films(others, generator, reference.rows)
            found.append(_compare(make_reference(others.take(chosen), others.film_N[chosen]), reviews, options))
        _line(f"{rows} reviews", found)


def _line(name: str, found: list[Drift]) -> None:
    over = Counter(feature for one in found for feature in one.over)
    psi = {feature: round(float(np.quantile([one.psi[feature] for one in found], 0.95)), 3) for feature in found[0].psi}
    print(f"{name:22}  {np.mean([one.drifted for one in found]):7.1%}  {dict(over)}; {psi}", flush=True)


def _compare(reference: Reference, reviews: Reviews, options: argparse.Namespace) -> Drift:
    observed = Observed(reference)
    observed.add(reviews)
    return compare(observed, psi_limit=options.psi, p_limit=options.p)


def _draws(pool: Pool, other: Pool | None, share: float, seed: str, size: int = ROWS) -> Iterator[Reviews]:
    generator = np.random.default_rng(list(f"{seed}".encode()))
    for _ in range(DRAWS):
        rows = _films(pool, generator, size)
        if other is None:
            yield pool.take(rows)
            continue
        foreign = generator.choice(len(other.texts), round(share * ROWS), replace=len(other.texts) < share * ROWS)
        kept = generator.choice(rows, ROWS - len(foreign), replace=False)
        yield _joined(pool.take(kept), other.take(foreign))


def _films(pool: Pool, generator: np.random.Generator, rows: int) -> npt.NDArray[np.int64]:
    """Rows of whole films at random, the last one cut."""
    order = np.argsort(pool.film_N, kind="stable")
    films, starts = np.unique(pool.film_N[order], return_index=True)
    by_film = np.split(order, starts[1:])
    chosen = [by_film[film] for film in generator.permutation(len(films))[:rows]]
    return np.concatenate(chosen)[:rows]


def _joined(*parts: Reviews) -> Reviews:
    return Reviews(
        *(np.concatenate([getattr(one, name) for one in parts]) for name in ("length_N", "unknown_N", "probability_NC"))
    )


def _pool(predictor: Predictor, rows: list[dict[str, Any]]) -> Pool:
    texts = [row["text"] for row in rows]
    ids, _ = encode_texts(predictor.bundle.load_vocabulary(), pa.array(texts))
    films = np.unique([row.get("group") or str(number) for number, row in enumerate(rows)], return_inverse=True)[1]
    return Pool(texts, films, Reviews.of(ids, predictor.predict(ids)))


def _tables(archive: Path) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    for row in read_reviews(archive):
        place = int.from_bytes(hashlib.sha256(b"drift:" + row["group"].encode()).digest()[:4]) % 100
        part = next(name for name, (begin, end) in PARTS.items() if begin <= place < end)
        tables[part].append(row)
    return tables


def _trained(options: argparse.Namespace, rows: list[dict[str, Any]]) -> Bundle:
    source, lake = options.folder / "train.parquet", options.folder / "lake"
    if not source.exists():
        columns = {name: [row[name] for row in rows] for name in ("id", "text", "group")}
        pq.write_table(pa.table({**columns, "label": [row["side"] for row in rows]}), source)
    columns = ["--id-column", "id", "--label-column", "label", "--group-column", "group"]
    _pipeline(lake, "ingest", source, *columns)
    _pipeline(lake, "train", "--arch", options.arch, *options.train)
    return find_bundle(Lake(lake))


def _pipeline(lake: Path, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "pipeline", "-q", "--lake", str(lake), *map(str, arguments)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode in (0, 99), command
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _kinds(options: argparse.Namespace, rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Reviews of another kind, each with its text."""
    made: dict[str, Callable[[], list[str]]] = {
        "synthetic": lambda: _synthetic(options),
        "other language": lambda: _foreign([row["text"] for row in rows]),
        "short": lambda: [" ".join(re.split(r"(?<=[.!?]) ", row["text"])[:2]) for row in rows],
        "horror": lambda: [row["text"] for row in rows if len(_words(row["text"]) & HORROR) >= 3],
        "negative": lambda: [row["text"] for row in rows if row["side"] == "neg"],
    }
    return {kind: [{"text": text} for text in make()] for kind, make in made.items()}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


def _foreign(texts: list[str]) -> list[str]:
    """The texts with their most frequent words, and thus most of the text, in a language that does not exist."""
    counts = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
    frequent = {word for word, _ in counts.most_common(FOREIGN_WORDS)}
    return [
        re.sub(r"[A-Za-z']+", lambda match: _translated(match[0]) if match[0].lower() in frequent else match[0], text)
        for text in texts
    ]


def _translated(word: str) -> str:
    """A made-up word, always the same for a word."""
    digest = hashlib.sha256(word.lower().encode()).digest()
    return "".join("bcdfglmnprstvz"[byte % 14] + "aeio"[byte // 14 % 4] for byte in digest[: max(1, len(word) // 2 + 1)])


def _synthetic(options: argparse.Namespace) -> list[str]:
    corpus = options.folder / "sample"
    if not corpus.exists():
        _pipeline(options.folder / "lake", "sample", corpus)
    return [path.read_text(encoding="utf-8") for path in sorted(corpus.rglob("*_*.txt"))]


def _check(options: argparse.Namespace, bundle: Bundle, reference: Reference, pool: Pool) -> None:
    """Scores draws with the command, and compares."""
    generator = np.random.default_rng(1)
    for number in range(options.check):
        rows = _films(pool, generator, ROWS)
        path = options.folder / f"draw-{number}.parquet"
        pq.write_table(pa.table({"text": [pool.texts[row] for row in rows]}), path)
        found = _pipeline(options.folder / "lake", "score", path, "--force")["metrics"]["drift"]
        expected = _compare(reference, pool.take(rows), options)
        gaps = [abs(found["psi"][name] - expected.psi[name]) for name in expected.psi]
        print(f"draw {number} by 'pipeline score': drifted {found['drifted']}; PSI differ by {max(gaps):.1g} at most")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arch", default="nbsvm")
    parser.add_argument(
        "--train", type=shlex.split, default=[], metavar="OPTIONS", help="options of 'pipeline train', quoted"
    )
    parser.add_argument("--psi", type=float, default=DEFAULT_DRIFT_WARN)
    parser.add_argument("--p", type=float, default=DEFAULT_DRIFT_P_VALUE)
    parser.add_argument("--choose", action="store_true", help="also the films that the thresholds were chosen with")
    parser.add_argument("--check", type=int, default=0, metavar="N", help="score N draws with the command")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
