"""All the contracts, by name."""

from schemas.contract import Contract
from schemas.prediction import PREDICTION
from schemas.reject import REJECT
from schemas.report import EXAMPLE, LENGTH
from schemas.review import REVIEW
from schemas.token import TOKEN
from schemas.vocabulary import VOCABULARY

CONTRACTS: dict[str, Contract] = {c.name: c for c in (REVIEW, TOKEN, VOCABULARY, PREDICTION, REJECT, LENGTH, EXAMPLE)}
