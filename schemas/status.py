"""The result of `pipeline status --json`."""

from schemas.document import Document, Field
from schemas.run import COUNTS, OUTCOMES

KINDS = {
    "damaged": "a run record or the token table cannot be read",
    "no_runs": "nothing has been ingested yet",
    "no_model": "no model is live, or the live model cannot be used",
    "withdrawn": "the live model learned from reviews that were retracted or erased since",
    "failed": "the last run of a command of the night failed; with exit code 69 or 75, the last two",
    "quarantined": "the last run skipped files that the run before it did not skip",
    "rejected": "the last run rejected rows that the run before it did not reject",
    "not_promoted": "the last training's model did not go live",
    "drift": "the reviews scored last differ from the training data",
    "unknown_tokens": "more tokens than --max-unknown are not in the vocabulary",
    "reported": "a line that the last nightly run noted",
    "stale": "the last night is older than --max-age",
    "disk": "less than --min-free is free on the lake's disk",
}
"""What can need a person."""

_TIME = "UTC, ISO 8601"

STATUS = Document(
    name="status",
    noun="status",
    version=1,
    description="The output of 'pipeline status --json': one JSON object.",
    remedy="Run 'pipeline status --json' with this release.",
    fields=(
        Field(name="lake", type="string", description="the lake's folder"),
        Field(name="checked", type="string", description=_TIME),
        Field(name="needs_person", type="boolean", description="whether attention is not empty; then the exit code is 1"),
        Field(name="verdict", type="string", description="the last night in a line"),
        Field(
            name="attention",
            type="objects",
            description="what needs a person, the most urgent first",
            fields=(
                Field(name="kind", type="string", description="what it is", choices=tuple(KINDS)),
                Field(name="message", type="string", description="the same in words"),
                Field(name="command", type="string", description="the command that helps", nullable=True),
                Field(name="run_id", type="string", description="the run that it is about", nullable=True),
            ),
        ),
        Field(
            name="live",
            type="object",
            description="the live model; null if there is none",
            nullable=True,
            fields=(
                Field(name="model_id", type="string", description="its ID"),
                Field(name="since", type="string", description=f"{_TIME}; null if not known", nullable=True),
                Field(name="reason", type="string", description="why it went live; null if not known", nullable=True),
                Field(name="accuracy", type="number", description="on the part measured_on", nullable=True),
                Field(name="mae", type="number", description="mean absolute error, of a model of numbers", nullable=True),
                Field(name="measured_on", type="string", description="test or validation", nullable=True),
                Field(name="table_version", type="integer", description="the version it was trained on", nullable=True),
            ),
        ),
        Field(
            name="runs",
            type="objects",
            description="the last run of each command",
            fields=(
                Field(name="command", type="string", description="ingest, train, score, …"),
                Field(name="run_id", type="string", description="names its record"),
                Field(name="finished", type="string", description=_TIME),
                Field(name="outcome", type="string", description="how it ended", choices=OUTCOMES),
                Field(name="exit_code", type="integer", description="the process's exit status"),
                Field(name="seconds", type="number", description="how long the run took"),
                *(Field(name=name, type="integer", description=f"rows {name}") for name in COUNTS),
                Field(name="quarantined", type="integer", description="files skipped"),
                Field(name="rejects", type="object", description="rejected rows by reason"),
            ),
        ),
        Field(
            name="table",
            type="object",
            description="the token table; null if there is none",
            nullable=True,
            fields=(
                Field(name="version", type="integer", description="its newest version"),
                Field(name="rows", type="integer", description="reviews"),
                Field(name="labelled", type="integer", description="of them with a label", nullable=True),
                Field(name="labels", type="strings", description="the classes"),
            ),
        ),
        Field(
            name="unknown_share",
            type="number",
            description="share of the last ingest's tokens that are not in the vocabulary",
            nullable=True,
        ),
        Field(name="unknown_share_table", type="number", description="the same of the whole table", nullable=True),
        Field(name="drift", type="object", description="metrics.drift of the last run of score that has it", nullable=True),
        Field(
            name="disk",
            type="object",
            description="bytes of the lake and of its file system",
            fields=(
                Field(name="used", type="integer", description="by the lake", minimum=0),
                Field(name="free", type="integer", description="on its file system", minimum=0),
                Field(name="total", type="integer", description="of its file system", minimum=0),
                Field(name="parts", type="object", description="by the lake's folders; other files as 'other'"),
                Field(name="partial", type="strings", description="parts with too many files to count them all"),
            ),
        ),
        Field(name="page", type="string", description="the morning page; null if it does not exist", nullable=True),
    ),
)
