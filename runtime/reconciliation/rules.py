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

from runtime.chain.store import Deposit
from runtime.shared.catalogue import PPM


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
    on_chain: int
    in_ledger: int
    uncredited: int
    unsettled: int
    network_fees: int
    to_customers: int
    """What `in_ledger` owes to customers; the rest is the house's own."""

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
