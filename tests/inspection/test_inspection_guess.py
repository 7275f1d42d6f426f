"""What columns are taken for, by their names and values."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspection.columns import Column
from pipeline.inspection.guess import Given, Guess, guess
from pipeline.inspection.names import is_group, is_id, label_rank, words
from pipeline.inspection.scales import stars_scale
from pipeline.readers.labels import LabelMap, SkippedLabels

ROWS = 60
TEXT = [f"Film number {number} was worth every minute of it" for number in range(ROWS)]


def columns_of(table: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
    found = {}
    for name, values in table.items():
        found[name] = Column(name=name)
        found[name].take(pa.array(values), written=False)
    return found


def guess_of(*, named: Given | None = None, **table: Sequence[Any]) -> Guess:
    columns = columns_of({"text": TEXT, **table})
    return guess(list(columns.values()), [columns], named or Given())


def cycle(*values: Any) -> list[Any]:
    return [values[row % len(values)] for row in range(ROWS)]


def test_words_of_a_name() -> None:
    assert words("ProductId") == words("product_id") == words(" Product ID") == ("product", "id")
    assert words("Évaluation") == ("evaluation",)
    assert words("review/score") == ("review", "score")


@pytest.mark.parametrize("name", ["label", "Score", "Bewertung", "star_rating", "airline_sentiment", "review/score", "评分"])
def test_usual_names_of_labels(name: str) -> None:
    assert label_rank(name) is not None
    assert guess_of(**{name: cycle(1, 2)}).label == name


@pytest.mark.parametrize(
    "name", ["HelpfulnessNumerator", "rating_count", "average_rating", "useful", "Time", "sentiment_confidence"]
)
def test_votes_and_times_are_no_labels(name: str) -> None:
    assert label_rank(name) is None
    assert guess_of(**{name: cycle(0, 1, 2)}).label is None


def test_label_by_few_values_where_no_name_tells() -> None:
    assert guess_of(opinion=cycle("yes", "no"), useful=cycle(0, 1), lang=cycle("de", "en")).label == "opinion"


def test_of_several_columns_of_few_values_the_one_with_sentiments_is_the_label() -> None:
    assert guess_of(colour=cycle("red", "green"), mood=cycle("Positive", "Negative")).label == "mood"


def test_undecided_labels_are_named_with_the_option() -> None:
    found = guess_of(colour=cycle("red", "green"), size=cycle("S", "M", "L"))
    assert found.label is None
    assert any("'colour', 'size'" in note and "--label-column" in note for note in found.notes)


def test_a_score_of_many_values_is_no_class_and_ranges_are_proposed() -> None:
    found = guess_of(score=list(range(ROWS)))
    assert found.label is None
    assert any("--label-column score --label-map" in note for note in found.notes)


def test_the_longest_text_is_the_review_and_addresses_are_not() -> None:
    found = guess_of(
        summary=cycle("good one", "bad one"), link=[f"https://films.example/{'x' * 90}/{n}" for n in range(ROWS)]
    )
    assert found.text == ("text",)


def test_lists_of_json_are_no_reviews() -> None:
    assert guess_of(tags=[f'["a tag of film {n}", "{"another " * 20}"]' for n in range(ROWS)]).text == ("text",)


def test_texts_without_blanks_of_other_scripts_are_reviews() -> None:
    columns = columns_of({"评论": ["这部电影非常好看我很喜欢"] * ROWS, "评分": cycle(1, 5)})
    assert guess(list(columns.values()), [columns], Given()).text == ("评论",)


def test_what_is_named_is_not_guessed() -> None:
    table = {"score": cycle(1, 2, 3, 4, 5), "verdict": cycle("a", "b"), "Id": list(range(ROWS)), "code": list(range(ROWS))}
    found = guess_of(named=Given(label="verdict", id="code"), **table)
    assert (found.label, found.id, found.label_map) == ("verdict", "code", None)


@pytest.mark.parametrize("name", ["id", "Id", "review_id", "Nr", "ReviewID", "uuid"])
def test_ids(name: str) -> None:
    assert is_id(name)
    assert guess_of(**{name: [f"r{row}" for row in range(ROWS)]}).id == name


@pytest.mark.parametrize("name", ["Unnamed: 0", "", "user_id", "ProductId", "price", "time"])
def test_no_ids(name: str) -> None:
    assert not is_id(name)
    assert guess_of(**{name: list(range(ROWS))}).id is None


def test_an_id_that_repeats_or_is_missing_identifies_nothing() -> None:
    assert guess_of(id=[*range(ROWS - 1), 0]).id is None
    assert guess_of(id=[*range(ROWS - 1), None]).id is None


def test_a_nearly_unique_id_is_proposed_with_what_is_wrong_with_it() -> None:
    columns = columns_of({"text": TEXT * 5, "review_id": [None, "r1", "r1", *(f"r{row}" for row in range(3, 300))]})
    found = guess(list(columns.values()), [columns], Given())
    assert found.id is None
    (note,) = [note for note in found.notes if "--id-column" in note]
    assert note.startswith("'review_id' is nearly an ID: of 300 rows, 1 without a value, 1 with that of another.")
    assert "--id-column review_id" in note


def test_a_column_named_as_an_id_that_often_repeats_is_not_passed_over_in_silence() -> None:
    columns = columns_of({"text": TEXT * 5, "review_id": [None, *(f"r{row // 2}" for row in range(299))]})
    found = guess(list(columns.values()), [columns], Given())
    assert found.id is None
    assert "'review_id' is not an ID: of 300 rows, 1 without a value, 149 with that of another." in found.notes


def test_stars_of_which_a_few_are_missing_are_stars_and_the_others_are_named() -> None:
    columns = columns_of({"text": TEXT * 10, "stars": [*"12345" * 119, "n/a", "n/a", "five", None, "1"]})
    found = guess(list(columns.values()), [columns], Given())
    assert (found.label, found.label_map) == ("stars", "neg=1,2 pos=4,5")
    assert any("these rows are rejected: 'n/a' (2), 'five' (1)" in note for note in found.notes)
    assert found.skip_labels == "3"
    many = columns_of({"text": TEXT * 10, "stars": [*"12345" * 90, *["none"] * 150]})
    found = guess(list(many.values()), [many], Given())
    assert found.label_map is None
    (note,) = [note for note in found.notes if "no classes" in note]
    assert "'none' (150)" in note and "--label-map 'neg=1,2 pos=4,5'" in note


@pytest.mark.parametrize("name", ["stars", "label"])
def test_a_few_odd_cells_in_a_small_table_do_not_cost_the_classes(name: str) -> None:
    found = guess_of(**{name: [*"12345" * 11, "N/A", "5 stars", "5 stars", "1", "2"]})
    assert (found.label, found.label_map, found.skip_labels) == (name, "neg=1,2 pos=4,5", "3")
    (note,) = [note for note in found.notes if "without a class" in note]
    assert "these rows are rejected: '5 stars' (2), 'N/A' (1)." in note or "'N/A' (1), '5 stars' (2)." in note
    options = shlex.split(note.partition("set --skip-labels ")[2].removesuffix("."))
    skipped = guess_of(named=Given(skip_labels=options[0]), **{name: [*"12345" * 11, "N/A", *["5 stars"] * 2, "1", "2"]})
    assert not any("without a class" in note for note in skipped.notes)
    assert "3" in SkippedLabels.parse(options[0])


def test_values_that_a_given_map_leaves_out_are_named_until_they_are_skipped() -> None:
    columns = columns_of({"text": TEXT * 5, "stars": [*"12345" * 60]})
    found = guess(list(columns.values()), [columns], Given(label_map="neg=1,2 pos=5"))
    assert found.skip_labels is None, "only whoever gave the map knows what it leaves out on purpose"
    (note,) = [note for note in found.notes if "without a class" in note]
    assert (
        "'3' (60), '4' (60). To use them, add them to --label-map; to leave them out on purpose, set --skip-labels 3,4."
        in note
    )
    found = guess(list(columns.values()), [columns], Given(label_map="neg=1,2 pos=5", skip_labels="3..4"))
    assert found.skip_labels == "3..4" and not any("without a class" in note for note in found.notes)


def test_an_id_that_starts_again_in_every_file_is_none_and_that_is_said() -> None:
    files = [columns_of({"text": TEXT, "Nr": list(range(ROWS))}) for _ in range(2)]
    merged = columns_of({"text": TEXT, "Nr": list(range(ROWS))})
    for name, column in merged.items():
        column.merge(files[1][name])
    found = guess(list(merged.values()), files, Given())
    assert found.id is None
    assert any("'Nr' is not an ID" in note for note in found.notes)


@pytest.mark.parametrize("name", ["ProductId", "business_id", "film", "movie_title", "asin"])
def test_groups(name: str) -> None:
    assert is_group(name)
    assert guess_of(**{name: cycle(*(f"g{number}" for number in range(25)))}).group == name


def test_a_handful_of_groups_is_too_few() -> None:
    assert guess_of(film=cycle("a", "b", "c")).group is None


def test_columns_about_a_product_that_are_not_the_product() -> None:
    assert not is_group("product_category")
    assert not is_group("app_version")


def test_a_split_with_values_that_ingest_knows() -> None:
    assert guess_of(split=cycle("train", "test")).split == "split"
    found = guess_of(split=cycle("train", "dev"))
    assert found.split is None
    assert any("'dev'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("Score", ["1", "2", "3", "4", "5"], ("neg=1,2 pos=4,5", "3")),
        ("stars", ["1", "5"], ("neg=1,2 pos=4,5", "3")),
        ("label", ["1", "2", "3", "4", "5"], ("neg=1,2 pos=4,5", "3")),
        ("rating", ["0.5", "1", "3.5", "5"], ("neg=0.5..2 pos=4..5", "2.5..3.5")),
        ("rating", [str(stars) for stars in range(1, 11)], ("neg=1..4 pos=7..10", "5,6")),
        ("rating", ["1", "4.5", "10", "7"], ("neg=1..4 pos=7..10", "4.5..6.5")),
        ("label", ["0", "1"], None),
        ("label", ["1", "2"], None),
        ("label", ["1", "2", "3"], None),
        ("stars", ["1", "2", "good"], None),
        ("rating", ["4.1", "4.2"], None),
        ("opinion", ["4", "5"], None),
    ],
)
def test_scales_of_stars(name: str, values: list[str], wanted: tuple[str, str] | None) -> None:
    scale = stars_scale(name, values)
    assert (scale and (scale.label_map, scale.skip_labels)) == wanted


@given(st.sets(st.integers(0, 20).map(lambda halves: halves / 2), min_size=1))
def test_a_map_for_stars_names_low_ones_neg_and_high_ones_pos(values: set[float]) -> None:
    texts = [f"{value:g}" for value in values]
    scale = stars_scale("stars", texts)
    if scale is None:
        return
    classes, skipped = LabelMap.parse(scale.label_map), SkippedLabels.parse(scale.skip_labels)
    assert skipped.mapped_by(classes) is None
    assert [text in skipped for text in texts] == [classes(text) is None for text in texts], "each star has its place"
    kinds = [classes(f"{value:g}") for value in sorted(values)]
    order = {"neg": 0, None: 1, "pos": 2}
    assert [order[kind] for kind in kinds] == sorted(order[kind] for kind in kinds)
    assert kinds[-1] == "pos"


def test_options_in_notes_are_quoted_for_the_shell() -> None:
    ids = [None, "r1", "r1", *(f"r{row}" for row in range(3, 300))]
    columns = columns_of({"text": TEXT * 5, "review id": ids, "Overall score": list(range(300))})
    found = guess(list(columns.values()), [columns], Given())
    assert any("--id-column 'review id':" in note for note in found.notes)
    assert any("--label-column 'Overall score' --label-map" in note for note in found.notes)
