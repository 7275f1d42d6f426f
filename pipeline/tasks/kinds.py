"""The tasks by name, and what the command line has to know of each. Importable without torch."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A task as options see it.

    Args:
        selections: metrics that may select the best epoch; the first is the default.
        linear_arch: the linear n-gram model of the task, a value of `--arch`.
        options: options of `train` that only this task has, by field.
    """

    name: str
    summary: str
    selections: tuple[str, ...]
    linear_arch: str
    options: frozenset[str] = field(default_factory=frozenset)

    @property
    def default_selection(self) -> str:
        """The metric that selects the best epoch where nobody chose one."""
        return self.selections[0]


CLASSIFICATION = Kind(
    name="classification",
    summary="learn each review's label",
    selections=("accuracy", "macro-f1", "loss"),
    linear_arch="nbsvm",
    options=frozenset(
        {"class_weights", "unlabelled", "teacher", "teacher_weight", "virtual_adversarial", "unlabelled_targets"}
    ),
)
REGRESSION = Kind(
    name="regression",
    summary="learn a number for each review",
    selections=("mae", "spearman", "loss"),
    linear_arch="ridge",
    options=frozenset({"target"}),
)
KINDS = {kind.name: kind for kind in (CLASSIFICATION, REGRESSION)}
