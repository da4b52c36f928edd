"""What holds the coins: the wallets whose balances on the chain are held against the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from config.checks import Checked, between, matching

CHAIN: Final = "ethereum"
"""The only chain that is reconciled: a Bitcoin node tells no balance of an address."""
COLD: Final = "cold"
WHOLE_BIPS: Final = 10_000
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddress(Checked):
    """A wallet of ours that only its custodians can spend from."""

    name: Annotated[str, matching(r"(hot|warm|cold)-[0-9]{1,3}", "the tier and a number, such as hot-1")]
    address: Annotated[str, matching(r"0x[0-9a-fA-F]{40}", "an Ethereum address with its checksum")]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciliationConfig(Checked):
    """The wallets, and how often. A wallet that is added here counts as ours, so it takes a reviewed change."""

    wallets: tuple[HeldAddress, ...]
    every_minutes: Annotated[int, between(15, 30)]
    """Alarms look at whole hours, and each must hold two looks at least."""
    hot_bips_max: Annotated[int, between(1, WHOLE_BIPS // 2 - 1)]
    """The most that hot wallets may hold of an asset, in basis points of all wallets; addresses of deposits are hot.

    Ours, as no law that we know of gives a share; the supervisor's guideline of August 2025 wants the majority cold.
    """
    cold_bips_min: Annotated[int, between(WHOLE_BIPS // 2 + 1, WHOLE_BIPS)]
    """The least that cold wallets must hold of it: a majority."""

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        addresses = [wallet.address.lower() for wallet in self.wallets]
        if not addresses or len(set(addresses)) != len(addresses):
            yield "reconciliation.wallets", "must be one or more different addresses", len(addresses)
        names = [wallet.name for wallet in self.wallets]
        if len(set(names)) != len(names):
            yield "reconciliation.wallets", "must have each name once", names
        if not any(name.startswith(COLD) for name in names):
            yield "reconciliation.wallets", "must have a cold one, for the majority of what customers have", names
        if self.hot_bips_max + self.cold_bips_min > WHOLE_BIPS:
            allowed = f"must be at most {WHOLE_BIPS - self.hot_bips_max}, which is what hot_bips_max leaves"
            yield "reconciliation.cold_bips_min", allowed, self.cold_bips_min
