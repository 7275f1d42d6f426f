"""All the contracts, by name."""

from schemas.contract import Versioned
from schemas.judge import JUDGE
from schemas.model import MODEL
from schemas.out_of_fold import OUT_OF_FOLD
from schemas.prediction import PREDICTION
from schemas.pretrained import PRETRAINED
from schemas.reference import REFERENCE
from schemas.reject import REJECT
from schemas.report import EVALUATION, EXAMPLE, LENGTH, NUMBER_EXAMPLE, NUMBERS, TOKEN_WEIGHT
from schemas.review import REVIEW
from schemas.review_key import REVIEW_KEY
from schemas.run import RUN
from schemas.status import STATUS
from schemas.targets import TARGETS
from schemas.token import TOKEN
from schemas.training import METRICS, TRAINING
from schemas.vocabulary import VOCABULARY

CONTRACTS: dict[str, Versioned] = {
    contract.name: contract
    for contract in (
        *(REVIEW, TOKEN, VOCABULARY, PREDICTION, OUT_OF_FOLD, REJECT, REVIEW_KEY, TARGETS),
        *(
            MODEL,
            REFERENCE,
            METRICS,
            LENGTH,
            EVALUATION,
            TOKEN_WEIGHT,
            EXAMPLE,
            NUMBERS,
            NUMBER_EXAMPLE,
            JUDGE,
            TRAINING,
            PRETRAINED,
            RUN,
            STATUS,
        ),
    )
}
