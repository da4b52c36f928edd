"""What holds the coins: the wallets whose balances on the chain are held against the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from config.checks import Checked, between, matching

CHAIN: Final = "ethereum"
"""The only chain that is reconciled: a Bitcoin node tells no balance of an address."""
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
    every_minutes: Annotated[int, between(15, 1440)]

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        addresses = [wallet.address.lower() for wallet in self.wallets]
        if not addresses or len(set(addresses)) != len(addresses):
            yield "reconciliation.wallets", "must be one or more different addresses", len(addresses)
        names = [wallet.name for wallet in self.wallets]
        if len(set(names)) != len(names):
            yield "reconciliation.wallets", "must have each name once", names
