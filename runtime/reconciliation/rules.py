"""What the chain must hold for the ledger to be right. Pure.

    wallets and deposit addresses  =  all balances of the ledger, the house's own included
                                    + what was received and is in no balance (yet)
                                    - what was paid out and has not left the ledger yet
                                    - what the network took for paying out

Each term has another source: nodes, the ledger's books, the watcher's table, the register of withdrawals. Amounts are
in the finer of the two units that the chain and the ledger count an asset in, so nothing is rounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.chain.store import Deposit
from runtime.shared.catalogue import PPM

BIPS: Final = 10_000
HOT: Final = "hot"
WARM: Final = "warm"
COLD: Final = "cold"
TIERS: Final = (HOT, WARM, COLD)
"""How far from the network the keys of a wallet are: on it, behind a person, off it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How an asset is counted: its decimals on the chain and in the ledger."""

    chain: int
    ledger: int

    def of_chain(self, amount: int) -> int:
        """Return an amount of the chain in the finer unit."""
        return amount * int(10 ** max(0, self.ledger - self.chain))

    def of_ledger(self, units: int) -> int:
        """Return an amount of the ledger in the finer unit."""
        return units * int(10 ** max(0, self.chain - self.ledger))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Everything that is known of one asset on its chain, in the finer unit."""

    asset: str
    height: int
    """Of the block after which the chain is read."""
    by_tier: Mapping[str, int]
    """What wallets of each of TIERS hold; addresses of deposits count as hot, as they are of the hot wallet's key."""
    in_ledger: int
    uncredited: int
    unsettled: int
    network_fees: int
    to_customers: int
    """What `in_ledger` owes to customers; the rest is the house's own."""

    @property
    def on_chain(self) -> int:
        """What all wallets hold together."""
        return sum(self.by_tier.values())

    def share_bips(self, tier: str) -> int | None:
        """Return what `tier` holds, in basis points of all wallets, rounded down; None where they hold nothing."""
        return self.by_tier[tier] * BIPS // self.on_chain if self.on_chain else None

    @property
    def owed(self) -> int:
        """What customers are owed: their balances, what they paid in and do not have yet, less what is on its way."""
        return self.to_customers + self.uncredited - self.unsettled

    @property
    def is_short(self) -> bool:
        """Whether the chain holds less than customers are owed."""
        return self.on_chain < self.owed

    @property
    def reserve_ppm(self) -> int | None:
        """What the chain holds, in parts per million of what customers are owed, rounded down; None for no debt."""
        return self.on_chain * PPM // self.owed if self.owed > 0 else None

    @property
    def difference(self) -> int:
        """What the chain holds beyond what it must; below 0 coins are missing."""
        return self.on_chain - (self.in_ledger + self.uncredited - self.unsettled - self.network_fees)


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """How an asset may be spread over the tiers, in basis points of all wallets. Compared without a division."""

    hot_bips_max: int
    cold_bips_min: int

    def is_too_hot(self, terms: Terms) -> bool:
        """Tell whether hot wallets hold more than they may."""
        return terms.by_tier[HOT] * BIPS > self.hot_bips_max * terms.on_chain

    def is_not_cold(self, terms: Terms) -> bool:
        """Tell whether cold wallets hold less than they must."""
        return terms.by_tier[COLD] * BIPS < self.cold_bips_min * terms.on_chain


def tier_of(wallet: str) -> str:
    """Return the tier in the name of a wallet, such as hot-1. Raises ValueError for a name without one."""
    tier = wallet.partition("-")[0]
    if tier not in TIERS:
        raise ValueError(f"the name of a wallet must begin with {', '.join(TIERS)}, was {wallet!r}")
    return tier


def uncredited(deposits: Iterable[Deposit], scale: Scale, *, is_mined: Mapping[str, bool]) -> int:
    """Return what was received of an asset and is in no balance: waiting, refused, or the rest below a unit.

    `is_mined` tells of the blocks of waiting deposits whether the chain is read after them. What is frozen was
    credited before its block left the chain: it is owed and not there, so it shows as a difference.
    """
    total = 0
    for deposit in deposits:
        received = scale.of_chain(deposit.transfer.amount)
        if deposit.status == "credited":
            total += received - scale.of_ledger(deposit.units)
        elif deposit.status in {"pending", "crediting"}:
            total += received if is_mined[deposit.block] else 0
        elif deposit.status not in {"orphaned", "frozen"}:
            total += received
    return total


def lasting(rounds: Sequence[Sequence[Terms]]) -> list[Terms]:
    """Return, of each asset whose rounds all differ to one side, the round that differs least.

    Money on its way between two reads makes a difference that is another, or none, a while later; what is missing
    stays missing under it.
    """
    found = []
    for number in range(len(rounds[0])):
        of_asset = [terms[number] for terms in rounds]
        if all(each.difference > 0 for each in of_asset) or all(each.difference < 0 for each in of_asset):
            found.append(min(of_asset, key=lambda terms: abs(terms.difference)))
    return found


def short(rounds: Sequence[Sequence[Terms]]) -> list[Terms]:
    """Return the last round of each asset whose reserves do not cover what customers are owed.

    A round without a difference is exact, so the last of those decides; without one, an asset is short that was so in
    every round. Coins that match the ledger can still be too few: then the house has spent what it did not have.
    """
    found = []
    for number in range(len(rounds[0])):
        of_asset = [terms[number] for terms in rounds]
        exact = [each for each in of_asset if not each.difference]
        if all(each.is_short for each in exact[-1:] or of_asset):
            found.append((exact or of_asset)[-1])
    return found
