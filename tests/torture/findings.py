"""What a probe finds out: a figure, the limit it is held against, and the verdict."""

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Self

__all__ = ["Finding", "Verdict"]


class Verdict(Enum):
    """What a figure means for a promise."""

    HELD = "held"
    BROKEN = "BROKEN"
    SHOWN = "shown"  #: a time, which is not judged in this run
    UNKNOWN = "unknown"  #: cannot be told from where the probe stands


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure.

    Attributes:
        what: what was measured.
        figure: what came out, with its unit.
        limit: what was promised, likewise.
        verdict: whether it holds.
    """

    what: str
    figure: str
    limit: str
    verdict: Verdict

    @classmethod
    def below(cls, what: str, figure: float, limit: float, unit: str = "", *, judged: bool = True) -> Self:
        """A figure that has to be less than its limit; one that is not `judged` is only shown."""
        verdict = (Verdict.HELD if figure < limit else Verdict.BROKEN) if judged else Verdict.SHOWN
        return cls(what, _with_unit(figure, unit), f"< {_with_unit(limit, unit)}", verdict)

    @classmethod
    def above(cls, what: str, figure: float, limit: float, unit: str = "", *, judged: bool = True) -> Self:
        """A figure that has to be more than its limit."""
        verdict = (Verdict.HELD if figure > limit else Verdict.BROKEN) if judged else Verdict.SHOWN
        return cls(what, _with_unit(figure, unit), f"> {_with_unit(limit, unit)}", verdict)

    @classmethod
    def equal(cls, what: str, figure: object, limit: object) -> Self:
        """A figure that has to be exactly what was promised."""
        return cls(what, str(figure), str(limit), Verdict.HELD if figure == limit else Verdict.BROKEN)

    @classmethod
    def unknown(cls, what: str, why: str) -> Self:
        """Something that cannot be told."""
        return cls(what, why, "", Verdict.UNKNOWN)

    def as_json(self) -> dict[str, Any]:
        """What a program prints for another one."""
        return asdict(self) | {"verdict": self.verdict.value}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Self:
        """What another program has printed."""
        return cls(found["what"], found["figure"], found["limit"], Verdict(found["verdict"]))

    def line(self) -> str:
        """A line for people."""
        limit = f" ({self.limit})" if self.limit else ""
        return f"  {self.verdict.value:<8}{self.what}: {self.figure}{limit}"


def _with_unit(figure: float, unit: str) -> str:
    text = f"{figure:.0f}" if abs(figure) >= 100 or float(figure).is_integer() else f"{figure:.2f}"
    return f"{text} {unit}".rstrip()
