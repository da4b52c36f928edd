"""What is written down for good, and what reads it: the values themselves are in `environments.py`."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from config.checks import Checked, between, matching

LEDGER_YEARS_MIN: Final = 5
"""Transaction and finance data of a crypto trader; tax books take ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsConfig(Checked):
    """How long records stay, and who may shorten that."""

    lock_mode: Literal["COMPLIANCE", "GOVERNANCE"]
    """COMPLIANCE: nobody, not even the root user, deletes a record before its time."""
    ledger_years: Annotated[int, between(1, 50)]
    """Postings as exported from the ledger: they are books in the sense of the law on taxes."""
    reports_years: Annotated[int, between(1, 50)]
    evidence_years: Annotated[int, between(1, 50)]
    """Evidence of surveillance cases."""
    trades_years: Annotated[int, between(1, 50)]
    """Trades in the lake."""
    query_gib_max: Annotated[int, between(1, 10_000)]
    """What one query of the lake may read before it is stopped."""
    regulator_account: Annotated[str, matching(r"\d{12}", "an AWS account id of 12 digits")]
    """Whose people read reports and the views made for them."""
