"""Whether a withdrawal may be signed. Pure: what was signed before and the time enter as arguments.

Every question has the answer no until everything that a yes needs has been shown. The clock is the host's and could be
turned; so time ends an approval, but nothing becomes allowed by waiting.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from runtime.shared.ethereum import address_bytes
from runtime.wallet_enclave.manifest import verifies
from runtime.wallet_enclave.messages import AMOUNT_MAX, Approval, AssetRule, Manifest, Withdrawal, approval_text, encode

TRANSFER_GAS: Final = 21_000
"""Of a plain transfer to an account; a contract that wants more gets nothing."""
REQUESTS_MAX: Final = 100_000
"""Withdrawals that one start of the enclave signs; then it must be replaced, as its memory is all it has."""
APPROVALS_MAX: Final = 16
ETHEREUM: Final = "ethereum"


class RefusedError(Exception):
    """The withdrawal is not signed; the message is the reason."""


@dataclass(slots=True)
class Spent:
    """What has been signed since the enclave started."""

    amounts: dict[tuple[str, str], int] = field(default_factory=dict)
    """By chain and asset, in units of the ledger."""
    requests: dict[str, bytes] = field(default_factory=dict)
    """Digest of the withdrawal by request id."""
    nonces: dict[tuple[str, int], str] = field(default_factory=dict)
    """Request id by chain and nonce."""

    def add(self, withdrawal: Withdrawal) -> None:
        """Count a withdrawal that is about to be signed; one that was counted before counts once."""
        if withdrawal.request_id in self.requests:
            return
        key = (withdrawal.chain, withdrawal.asset)
        self.amounts[key] = self.amounts.get(key, 0) + withdrawal.amount
        self.requests[withdrawal.request_id] = digest(withdrawal)
        self.nonces[withdrawal.chain, withdrawal.nonce] = withdrawal.request_id


def digest(withdrawal: Withdrawal) -> bytes:
    """Return what names this withdrawal and no other."""
    return hashlib.sha256(encode(withdrawal)).digest()


def allowed(
    manifest: Manifest | None, withdrawal: Withdrawal, approvals: Sequence[Approval], spent: Spent, now_s: int
) -> AssetRule:
    """Return the rule under which `withdrawal` may be signed. Raises RefusedError with the reason if it may not."""
    if manifest is None:
        raise RefusedError("no manifest is in force")
    if manifest.halted:
        raise RefusedError("the manifest halts every withdrawal")
    if withdrawal.wallet != manifest.wallet:
        raise RefusedError("the manifest is of another wallet")
    rule = _rule(manifest, withdrawal)
    _check_destination(manifest, withdrawal)
    _check_amount(rule, withdrawal, spent)
    _check_fee(rule, withdrawal)
    _check_repetition(withdrawal, spent)
    if withdrawal.amount > rule.approval_above:
        _check_approvals(manifest, withdrawal, approvals, now_s)
    return rule


def _rule(manifest: Manifest, withdrawal: Withdrawal) -> AssetRule:
    for rule in manifest.assets:
        if (rule.chain, rule.asset) == (withdrawal.chain, withdrawal.asset):
            return rule
    raise RefusedError(f"the manifest has no rule for {withdrawal.asset} on {withdrawal.chain}")


def _check_destination(manifest: Manifest, withdrawal: Withdrawal) -> None:
    if withdrawal.chain != ETHEREUM:
        raise RefusedError(f"signing for {withdrawal.chain} is not built yet")
    try:
        address_bytes(withdrawal.destination)
    except ValueError as error:
        raise RefusedError(str(error)) from None
    listed = {entry.address for entry in manifest.destinations if entry.chain == withdrawal.chain}
    if withdrawal.destination not in listed:
        raise RefusedError("the destination is not on the manifest's list")


def _check_amount(rule: AssetRule, withdrawal: Withdrawal, spent: Spent) -> None:
    if not 1 <= withdrawal.amount <= AMOUNT_MAX:  # the decoder has checked this; here it costs nothing
        raise RefusedError(f"an amount is 1 to {AMOUNT_MAX}, was {withdrawal.amount}")
    if withdrawal.amount > rule.transaction_max:
        raise RefusedError(f"at most {rule.transaction_max} leave at once, asked were {withdrawal.amount}")
    if withdrawal.request_id in spent.requests:
        return
    total = spent.amounts.get((rule.chain, rule.asset), 0) + withdrawal.amount
    if total > rule.boot_max:
        raise RefusedError(f"this start may sign {rule.boot_max} in all, with this one it were {total}")
    if len(spent.requests) >= REQUESTS_MAX:
        raise RefusedError(f"this start has signed {REQUESTS_MAX} withdrawals, as many as it may")


def _check_fee(rule: AssetRule, withdrawal: Withdrawal) -> None:
    fee_max = rule.fee_max * rule.chain_units
    fee = TRANSFER_GAS * withdrawal.fee_per_gas_max
    if fee > fee_max:
        raise RefusedError(f"a fee is at most {fee_max}, this transaction could cost {fee}")
    if withdrawal.priority_fee_per_gas_max > withdrawal.fee_per_gas_max:
        raise RefusedError("the priority fee is above the whole fee")


def _check_repetition(withdrawal: Withdrawal, spent: Spent) -> None:
    known = spent.requests.get(withdrawal.request_id)
    if known is not None and known != digest(withdrawal):
        raise RefusedError("another withdrawal was signed under this request id")
    holder = spent.nonces.get((withdrawal.chain, withdrawal.nonce))
    if holder not in (None, withdrawal.request_id):
        raise RefusedError(f"nonce {withdrawal.nonce} was signed for another withdrawal")


def _check_approvals(manifest: Manifest, withdrawal: Withdrawal, approvals: Iterable[Approval], now_s: int) -> None:
    given = list(approvals)
    if len(given) > APPROVALS_MAX:
        raise RefusedError(f"at most {APPROVALS_MAX} approvals are looked at, {len(given)} were given")
    name = digest(withdrawal)
    valid = {
        each.approver
        for each in given
        if each.approver in manifest.approvers
        and each.expires_at > now_s
        and verifies(each.approver, each.signature, approval_text(name, each.expires_at))
    }
    if len(valid) < manifest.approvals_required:
        raise RefusedError(f"{manifest.approvals_required} approvals are needed, {len(valid)} are valid")
