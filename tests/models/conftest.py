"""A small vocabulary, random batches like the trainer's, and reviews whose label depends on word order."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from pipeline.text.vocabulary import Vocabulary
from tests.support.commands import invoke
from tests.support.models import make_vocabulary
from tests.support.reviews import order_reviews
from tests.support.token_corpus import Corpus, write_corpus


@pytest.fixture
def vocabulary() -> Vocabulary:
    return make_vocabulary()


@pytest.fixture(scope="session")
def order_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews for training, as `order_reviews` makes them, ingested."""
    folder = tmp_path_factory.mktemp("order")
    pa.csv.write_csv(order_reviews(3000, seed=0), folder / "reviews.csv")
    invoke("ingest", folder / "reviews.csv", "--group-column", "film", "--lake", folder / "lake")
    return folder / "lake"


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Five batches of 32 reviews for training, and some for validation."""
    return write_corpus(tmp_path_factory.mktemp("small"), 160)
