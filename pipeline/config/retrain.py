"""When a scheduled run trains: always, never, or once one of several conditions holds."""

from dataclasses import dataclass

ALWAYS, NEVER, DRIFT = "always", "never", "drift"
EXPECTED = (
    "expected always, never, or conditions separated by commas: rows:N (N more labelled reviews than at the last training), "
    "share:P% (so many percent more), days:N (so long ago), drift (the last scored input had drifted)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrain:
    """Conditions for a training, of which one is enough; without any, `train` itself finds out whether anything is new.

    Args:
        rows: new labelled reviews since the last training.
        share: the same as a share of those of the last training.
        days: since the last training.
        drift: whether the last scored input had drifted from the training data.
        never: no training at all.
    """

    rows: int | None = None
    share: float | None = None
    days: float | None = None
    drift: bool = False
    never: bool = False

    @classmethod
    def parse(cls, text: object) -> "Retrain":
        """The policy from `always`, `never`, or conditions such as `rows:1000,days:7,drift`.

        Raises:
            ValueError: anything else.
        """
        given = str(text).strip()
        if given in (ALWAYS, NEVER):
            return cls(never=given == NEVER)
        found: dict[str, int | float | bool] = {}
        for condition in given.split(","):
            name, colon, value = condition.strip().partition(":")
            if name in found or bool(colon) == (name == DRIFT):
                raise ValueError(EXPECTED)
            found[name] = True if name == DRIFT else _number(name, value)
        return cls(**found)  # type: ignore[arg-type]

    @property
    def always(self) -> bool:
        """Whether there is no condition."""
        return self == Retrain()

    def __str__(self) -> str:
        if self.never:
            return NEVER
        conditions = {
            "rows": self.rows,
            "share": None if self.share is None else f"{self.share * 100:g}%",
            "days": None if self.days is None else f"{self.days:g}",
        }
        words = [f"{name}:{value}" for name, value in conditions.items() if value is not None]
        return ",".join([*words, *([DRIFT] if self.drift else [])]) or ALWAYS


def _number(name: str, text: str) -> int | float:
    try:
        if name == "rows" and int(text) > 0:
            return int(text)
        if name == "share" and text.endswith("%") and 0 < float(text[:-1]) < float("inf"):
            return float(text[:-1]) / 100
        if name == "days" and 0 < float(text) < float("inf"):
            return float(text)
    except ValueError:
        pass
    raise ValueError(EXPECTED)
