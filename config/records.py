"""What is written down for good, and who reads it: the values themselves are in `environments.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from config.checks import Checked, between, matching
from config.perimeter import AccountId

LEDGER_YEARS_MIN: Final = 5
"""Transaction and finance data of a crypto trader; tax books take ten."""
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""
ReportName = Literal["trades", "tax"]
"""What may be delivered. The file of suspicious transactions is not in it: nobody but the authority may know of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient(Checked):
    """Whose machines fetch reports, by a role of ours, and are told by a queue of ours of each that is filed."""

    account: AccountId
    external_id: Annotated[str, matching(r"[A-Za-z0-9-]{16,64}", "16 to 64 letters, digits and hyphens")]
    """What the recipient sends along when it takes the role. No secret; another one for each recipient."""
    reports: Annotated[tuple[ReportName, ...], Field(min_length=1)]
    deliver_within_hours: Annotated[int, between(1, 168)]
    """So long after it was offered a report may wait to be fetched, before somebody here is told."""


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
    price_months: Annotated[int, between(6, 120)]
    """Candles by the minute and quotes by the second in the ledger's database. Six is the floor of the law.

    Quotes take at most 3.4 GB a year and market: 108 bytes for each second in which the best levels change.
    """
    query_gib_max: Annotated[int, between(1, 10_000)]
    """What one query of the lake may read before it is stopped."""
    regulator_account: AccountId
    """Whose people read reports and the views made for them."""
    bourse: Recipient | None
    """None while there is none to deliver to."""
    clearing: Recipient | None
    """The clearing house; None while there is none to deliver to."""

    @property
    def recipients(self) -> dict[str, Recipient]:
        """Who gets reports, by name."""
        both = {"bourse": self.bourse, "clearing": self.clearing}
        return {name: recipient for name, recipient in both.items() if recipient}

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        taken: dict[str, str] = {}
        for name, recipient in self.recipients.items():
            if len(set(recipient.reports)) != len(recipient.reports):
                yield f"records.{name}.reports", "must name each report once", str(recipient.reports)
            if other := taken.get(recipient.external_id):
                yield f"records.{name}.external_id", f"must differ from that of records.{other}", recipient.external_id
            taken[recipient.external_id] = name
