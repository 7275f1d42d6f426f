"""The report: one page that needs nothing from outside itself and says what the bundle holds."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from pipeline.errors import CannotWriteError, DataError, InputNotFoundError
from pipeline.reports.files import REPORT_FILES, read_evaluation, write_evaluation
from pipeline.reports.metrics import wilson
from pipeline.reports.plots import INK
from pipeline.reports.write import write_report
from schemas.contract import ContractError
from schemas.report import KEY_LABEL_ROWS
from tests.support.report_bundles import evaluation_table, example_table, leaning, lengths_table, make_bundle, write_metrics


class Page(HTMLParser):
    """Collects what the tests look at: text, tags with attributes, and whether tags are closed in order."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def page_of(folder: Path, **given: Any) -> Page:
    """The bundle's page without its pictures, which take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patched:
        for module in ("plots", "score_plots"):
            patched.setattr(f"pipeline.reports.{module}.svg_of", lambda *_: "<svg></svg>")
        return Page(write_report(folder, **given).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the bundle as it is, which several tests read."""
    return write_report(make_bundle(tmp_path_factory.mktemp("page")))


def test_page_is_whole_and_needs_nothing_from_outside(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    page = Page(html)
    assert written.name == "report.html" and (written.parent / "model.json").exists() and page.open == []
    assert not [tag for tag, _ in page.tags if tag in ("script", "img", "iframe", "object")]
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    assert "@import" not in html and not re.search(r"url\((?!#)", html)
    assert html.count("prefers-color-scheme: dark") == 1


def test_page_says_what_the_bundle_holds(written: Path) -> None:
    text = Page(written.read_text(encoding="utf-8")).text
    for expected in (
        "20260131T040000Z-bilstm-1a2b3c",
        "whose weights were kept",
        "The model reads the first 400 tokens",
        "id 0 neg id 1 pos",
        "hidden dim 128",
        "resume no",
        "table version 3",
        "parameters 3,142,210",
        "training neg 900 60.0% pos 600 40.0%",
        "to neg dull 0.40 (40)",
        "$movie",
        "to pos good 0.40 (40)",
        "café",
    ):
        assert expected in text


def test_figures_at_the_top_are_those_of_the_test_split_beside_the_majority_class(written: Path) -> None:
    evaluation = read_evaluation(written.parent)
    assert evaluation is not None
    test = [row for row in evaluation.to_pylist() if row["split"] == "test"]
    right = sum((row["probabilities"][1] > 0.5) == row["label"] for row in test)
    estimate = wilson(right, 400)
    text = Page(written.read_text(encoding="utf-8")).text
    assert f"Of 400 test reviews the model labels {estimate.value:.1%} correctly" in text
    assert "calling each of them “pos” would be right for 66.5%" in text
    assert f"Accuracy {estimate.value:.1%} {estimate.low:.1%} to {estimate.high:.1%}" in text
    assert "majority class always “pos” 66.5%" in text


def test_validation_stands_in_for_a_test_split(bundle: Path) -> None:
    write_evaluation(bundle, evaluation_table({"valid": leaning(300, 0.8)}))
    text = page_of(bundle).text
    assert "Of 300 validation reviews" in text and "The epoch was chosen on these reviews" in text


def test_a_model_that_guesses_is_called_so(bundle: Path) -> None:
    write_evaluation(bundle, evaluation_table({"test": leaning(300, 0.5)}))
    assert "no better than guessing" in page_of(bundle).text


def test_a_sample_is_called_a_sample(bundle: Path) -> None:
    table = evaluation_table({"test": leaning(300, 0.8)})
    table = table.replace_schema_metadata({KEY_LABEL_ROWS: b'{"test": [4000, 6000]}'})
    write_evaluation(bundle, table)
    assert "Of 300 test reviews, a sample of 10,000, the model" in page_of(bundle).text


def test_earlier_models_of_the_lake_stand_beside(bundle: Path, tmp_path: Path) -> None:
    earlier = make_bundle(tmp_path, "earlier", "2026-01-30T00:00:00Z")
    write_evaluation(earlier, evaluation_table({"test": leaning(400, 0.6)}))
    later = make_bundle(tmp_path, "later", "2026-02-01T00:00:00Z")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "model.json").write_text("{")
    text = page_of(bundle, models=tmp_path).text
    assert re.search(r"earlier bilstm \d\d\.\d% .* < 0\.001 majority class", text)
    assert later.name not in text and "damaged" not in text


def test_baselines_of_training_stand_beside(bundle: Path) -> None:
    description = json.loads((bundle / "model.json").read_text())
    description["metrics"]["baseline"] = {"arch": "nbsvm", "test_accuracy": 0.8, "test_macro_f1": 0.79}
    (bundle / "model.json").write_text(json.dumps(description))
    assert "linear baseline nbsvm 80.0%" in page_of(bundle).text


def test_the_temperature_is_shown(bundle: Path) -> None:
    description = json.loads((bundle / "model.json").read_text())
    (bundle / "model.json").write_text(json.dumps({**description, "blend": {"scale": 0.8}}))
    assert "temperature 1.25" in page_of(bundle).text


def test_pictures_are_svg_with_the_pages_colours_and_alternative_texts(written: Path) -> None:
    html = written.read_text(encoding="utf-8")
    pictures = re.findall(r'<div class="picture" role="img" aria-label="([^"]+)">(<svg.*?</svg>)', html, re.DOTALL)
    assert len(pictures) == 7
    told = "training from 0.690 to 0.090, validation from 0.660 to 0.410, test 0.345."
    assert f"Chart of loss by epoch: {told}" in [alt for alt, _ in pictures]
    for _, svg in pictures:
        ElementTree.fromstring(svg)
        assert "var(--" in svg and not re.search("#0[0-9]0[0-9]0[0-9]", svg)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', html)) <= set(ids)


def test_a_label_that_looks_like_a_colour_or_a_formula_stays_a_label(bundle: Path) -> None:
    for label in (INK, "$pos$"):
        description = json.loads((bundle / "model.json").read_text())
        (bundle / "model.json").write_text(json.dumps({**description, "labels": ["neg", label]}))
        html = write_report(bundle).read_text(encoding="utf-8")
        assert re.search(rf">{re.escape(label)} 0\.\d+</text>", html)


def test_text_of_strangers_stays_text(bundle: Path) -> None:
    page = page_of(bundle, examples=example_table([("<script>alert(1)</script> & so", None, "pos", 0.9)]))
    assert "<script>alert(1)</script> & so" in page.text
    assert "script" not in {tag for tag, _ in page.tags}


def test_examples_show_verdict_probability_truth_and_tokens(written: Path) -> None:
    text = Page(written.read_text(encoding="utf-8")).text
    assert "Surest mistakes neg 69.0% ✗ labelled pos This is anything but boring. + dull − but" in text
    assert "✓ right The plot was not dull, and the cast is brilliant; I call it gripping!" in text
    assert "half of it is cold. …" in text, "a long text is cut between words"


def test_examples_of_a_file_come_beside_those_of_the_bundle(bundle: Path) -> None:
    added = "new.parquet", example_table([("so so", None, "pos", 0.44)])
    text = page_of(bundle, added=added).text
    assert "Examples from new.parquet" in text and "pos 44.0% so so" in text
    assert "This is anything but boring." in text


def test_bundle_without_optional_files_gives_a_smaller_page(bundle: Path) -> None:
    for name in REPORT_FILES:
        (bundle / name).unlink()
    page = page_of(bundle)
    assert "The reviews" not in page.text and "Examples" not in page.text and "Compared" not in page.text
    assert "Test accuracy 88.1%" in page.text and "Validation accuracy 78.8% epoch 4, kept" in page.text


def test_lengths_given_take_the_place_of_the_bundles(bundle: Path) -> None:
    assert (
        "3 reviews; half of them have at most 2 tokens, the longest 7."
        in page_of(bundle, lengths=lengths_table({"train": [0, 0, 2, 0, 0, 0, 0, 1]})).text
    )


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(1, 10, "train", 0.7, 0.5, 0.0, 0)],
        [(1, 10, "train", 0.7, 0.5, 1.0, 100), (1, 10, "valid", None, None, 0.1, 10)],
        [(1, step, "train", 0.7, 0.5, 1.0, 100) for step in (10, 20, 30)] + [(1, 30, "valid", 0.6, 0.7, 1.0, 10)],
    ],
    ids=["no epoch", "one phase", "no loss", "several rows an epoch"],
)
def test_trainings_of_any_kind_have_a_report(bundle: Path, rows: list[tuple[object, ...]]) -> None:
    write_metrics(bundle, rows)
    assert Page(write_report(bundle).read_text(encoding="utf-8")).open == []


def test_same_bundle_same_bytes(written: Path, bundle: Path) -> None:
    assert write_report(bundle).read_bytes() == written.read_bytes()


def test_model_id_and_output_can_be_given(bundle: Path, tmp_path: Path) -> None:
    path = write_report(bundle, model_id="the-final-name", output=tmp_path / "elsewhere" / "page.html")
    assert "the-final-name" in path.read_text() and not (bundle / "report.html").exists()


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="not a model bundle"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["metrics.parquet", "model.json", *REPORT_FILES])
def test_damaged_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:100] + b"\xff")
    with pytest.raises(DataError, match=name):
        write_report(bundle)
    assert not (bundle / "report.html").exists()


def test_metrics_without_their_columns(bundle: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"epoch": pa.array([1], pa.int32())}), bundle / "metrics.parquet")
    with pytest.raises(ContractError, match=r"metrics.parquet lacks the column 'step' \(int64\) of the metrics contract"):
        write_report(bundle)


def test_page_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError):
        write_report(bundle, output=tmp_path / "file" / "report.html")


def test_report_never_imports_torch() -> None:
    code = "import pipeline.reports.write, sys; sys.exit('torch' in sys.modules or 'deltalake' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
