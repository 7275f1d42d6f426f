"""How much may be bad: a share (`5%`) or a number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limit:
    """A maximum share or number. `str()` returns it as it was given."""

    share: float | None = None
    number: int | None = None

    @classmethod
    def parse(cls, text: str | int) -> "Limit":
        """A limit from `5%` or `100`.

        Raises:
            ValueError: neither a share between 0 % and 100 % nor a number.
        """
        given = str(text).strip()
        try:
            if given.endswith("%"):
                share = float(given[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(share=share)
            elif int(given) >= 0:
                return cls(number=int(given))
        except ValueError:
            pass
        raise ValueError("expected a share such as 5%, or a number of 0 or more.")

    def is_passed(self, bad: int, of: int) -> bool:
        """Whether more are bad than are allowed."""
        return bad > self.number if self.number is not None else bad > (self.share or 0.0) * of

    def __str__(self) -> str:
        return f"{self.number:,}" if self.number is not None else f"{(self.share or 0.0) * 100:g}%"
