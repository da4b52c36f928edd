"""How accounts are closed, and how long files of those who left are kept: the values are in `environments.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from config.checks import Checked, between, matching

FILES_YEARS_MIN: Final = 5
"""Files of due diligence, counted from the end of the relation (Law 8/2010, Art. 21)."""
APPROVERS_MIN: Final = 3
"""Two must sign; one more, so that nobody's holiday stops a closure."""
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingConfig(Checked):
    """Closures of accounts, and the hand-over of all of them."""

    approvers: Annotated[
        tuple[Annotated[str, matching(r"[0-9a-f]{64}", "an Ed25519 public key, 64 hexadecimal digits")], ...],
        Field(min_length=APPROVERS_MIN),
    ]
    """Whose signatures count; two are needed for what an operator asks for."""
    settle_days_max: Annotated[int, between(1, 360)]
    """So long a closure waits until the account holds nothing; then a person looks at it."""
    files_years: Annotated[int, between(1, 50)]
    """Files of due diligence, from the day of closing. Books stay as long as `records` says."""
    transfer_out_years: Annotated[int, between(1, 50)]
    """What was handed over to another trader."""

    def problems(self, environment: str) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        if len(set(self.approvers)) != len(self.approvers):
            yield "offboarding.approvers", "must name each key once", list(self.approvers)
        if environment == "prod":
            for name in ("files_years", "transfer_out_years"):
                if (years := getattr(self, name)) < FILES_YEARS_MIN:
                    yield f"offboarding.{name}", f"must be at least {FILES_YEARS_MIN}, the floor of the law", years
