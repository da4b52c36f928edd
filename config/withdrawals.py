"""What may leave, of which asset, and when everything is halted. Amounts in units of the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from config.checks import Checked, between, matching

AMOUNT_MAX: Final = 2**62 - 1
Amount = Annotated[int, between(1, AMOUNT_MAX)]
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRule(Checked):
    """One asset on one chain. The manifest of the wallet bounds it once more, inside the enclave."""

    asset: Annotated[str, matching(r"[A-Z0-9]{2,10}", "an asset of the catalogue, such as ETH")]
    chain: Annotated[str, matching(r"ethereum", "ethereum, the only chain that is signed for")]
    minimum: Amount
    transaction_max: Amount
    day_max: Amount
    """For one customer, by the calendar day in UTC."""
    hour_max: Amount
    """For all customers together; more halts every withdrawal."""
    approval_above: Amount
    """Larger amounts need two approvers. Not above what the manifest allows without them."""
    travel_rule_from: Amount
    """From here on the receiver's address or institution must be given; the name always."""
    cooldown_s: Annotated[int, between(0, 30 * 24 * 3600)]
    """So long a new address waits."""
    fee: Annotated[int, between(0, AMOUNT_MAX)]
    """What the house keeps of each withdrawal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalConfig(Checked):
    """Rules of every asset that can be withdrawn, and the bound over all of them."""

    rules: tuple[WithdrawalRule, ...]
    hourly_count_max: Annotated[int, between(1, 100_000)]
    """Withdrawals of all customers in an hour; one more halts all."""

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        names = [(rule.asset, rule.chain) for rule in self.rules]
        if not names:
            yield "withdrawals.rules", "must have one rule at least", 0
        if len(set(names)) != len(names):
            yield "withdrawals.rules", "must have one rule for an asset on a chain", names
        for number, rule in enumerate(self.rules):
            ordered = rule.fee < rule.minimum <= rule.transaction_max <= rule.day_max <= rule.hour_max
            if not ordered:
                allowed = "must have fee < minimum <= transaction_max <= day_max <= hour_max"
                yield f"withdrawals.rules.{number}", allowed, rule.asset
