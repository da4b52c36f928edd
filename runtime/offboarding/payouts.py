"""Withdrawals on behalf of who leaves: ordinary requests, held against the same rules as anybody's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from runtime.withdrawals.rules import DAY_S, Rule

COUNT_MAX: Final = 30
"""Withdrawals of one asset for one closure; then a person looks at it."""
ENDED_WELL: Final = "settled"
ENDED_BADLY: Final = "refused"


class Withdrawals(Protocol):
    """The way in of withdrawals, and their register."""

    def apply(self, asked: Mapping[str, Any]) -> None:
        """Take a request; the same one again changes nothing."""

    def status(self, withdrawal_id: str) -> str | None:
        """Return how far a withdrawal has come; None for one that was never taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payouts:
    """Asks for one withdrawal of an asset at a time, as large as its rule allows."""

    withdrawals: Withdrawals
    rules: tuple[Rule, ...]

    def following(
        self, found: Mapping[str, Any], asset: str, free: int, last: Mapping[str, Any] | None, now_s: int
    ) -> dict[str, Any] | None:
        """Return the next withdrawal to ask for; None while one is on its way, or there is nothing to ask for.

        What was refused is tried again after a day, when limits of a day are open again.
        """
        chain = json.loads(found["details"])["payouts"][asset]["chain"]
        rule = next((each for each in self.rules if (each.asset, each.chain) == (asset, chain)), None)
        if rule is None or free < rule.minimum:
            return None
        number = 1
        if last is not None:
            status = self.withdrawals.status(last["withdrawal_id"])
            waits = status == ENDED_BADLY and now_s - last["asked_at_s"] < DAY_S
            if status not in {ENDED_WELL, ENDED_BADLY} or waits or last["number"] >= COUNT_MAX:
                return None
            number = last["number"] + 1
        return {
            "withdrawal_id": f"{found['id']}-{asset}-{number}",
            "amount": min(free, rule.transaction_max),
            "number": number,
            "asked_at_s": now_s,
        }

    def ask(self, found: Mapping[str, Any], asset: str, wanted: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
        """Ask for a withdrawal that was noted; one that was taken before stays as it is."""
        if self.withdrawals.status(noted["withdrawal_id"]) is None:
            self.withdrawals.apply(
                {
                    "withdrawal_id": noted["withdrawal_id"],
                    "account": found["account"],
                    "asked_by": found["asked_by"],
                    "asset": asset,
                    "chain": wanted["chain"],
                    "destination": wanted["destination"],
                    "amount": noted["amount"],
                    "receiver": wanted["receiver"],
                }
            )
