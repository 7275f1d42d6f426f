"""Names of outputs: each input has its own, whatever it is called."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.readers.base import Source
from pipeline.readers.walk import partitions_of
from pipeline.scoring.places import Places

PART = st.text(st.sampled_from("ab.=%_2E5D-é\udce9"), min_size=1, max_size=6).filter(lambda part: part not in (".", ".."))
SUFFIX = st.sampled_from(["", ".csv", ".parquet", ".PARQUET", ".csv.gz", ".csv.parquet", ".parquet.parquet", ".jsonl"])
FILE = st.builds(lambda stem, suffix: stem + suffix, PART, SUFFIX)
INPUT = st.builds(lambda folders, name: "/".join((*folders, name)), st.lists(PART, max_size=2), FILE)


def readable(name: str) -> bool:
    """Whether `score` reads a file of that name in a folder."""
    return name.lower().endswith((".csv", ".parquet", ".csv.gz", ".jsonl"))


@given(
    st.sets(INPUT.filter(readable), min_size=1, max_size=12), st.booleans(), st.sampled_from([".parquet", ".csv", ".jsonl"])
)
def test_no_two_inputs_share_an_output(names: set[str], texts: bool, suffix: str) -> None:
    base, root = Path("/given/in"), Path("/lake/predictions")
    sources = [Source(path=base / name, name=name, format="csv") for name in names]
    if texts:
        sources.append(Source(path=base, name="in", format="txt", listing="1.txt"))
    places = Places(root=root, bases={base: "in"}, suffix=suffix)
    outputs = [place.output for place in places.of_sources(sources)]
    assert len(set(outputs)) == len(sources)
    files = set(outputs)
    for output in outputs:
        relative = output.relative_to(root)
        assert output.name.endswith(suffix)
        assert not any(part.startswith((".", "_")) for part in relative.parts)  # readers pass these over
        assert not partitions_of(relative)
        assert not files & set(output.parents)  # a file where another output needs a folder
        os.fspath(output).encode()


def test_the_output_of_a_file_does_not_depend_on_the_others() -> None:
    base, root = Path("/given/in"), Path("/lake/predictions")
    places = Places(root=root, bases={base: "in"}, suffix=".parquet")
    one = Source(path=base / "a.csv", name="a.csv", format="csv")
    other = Source(path=base / "a.csv.parquet", name="a.csv.parquet", format="parquet")
    (alone,) = places.of_sources([one])
    both = {place.source.name: place.output for place in places.of_sources([other, one])}
    assert both["a.csv"] == alone.output == root / "in" / "a.csv.parquet"


def test_the_topmost_of_nested_folders_names_the_inputs(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    source = Source(path=tmp_path / "in" / "sub" / "a.csv", name="a.csv", format="csv")
    root = tmp_path / "predictions"
    for order in (["in", "in/sub"], ["in/sub", "in"]):
        places = Places.of([str(tmp_path / name) for name in order], [source], root, ".parquet")
        (place,) = places.of_sources([source])
        assert place.output == root / "in" / "sub" / "a.csv.parquet"
