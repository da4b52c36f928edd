"""Two people's yes to one exact transfer: signatures that the enclave verifies once more by itself. Pure."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from runtime.shared.request_table import approvals_of
from runtime.wallet_enclave.manifest import verifies
from runtime.wallet_enclave.messages import Approval, MessageError, approval_text, decode, encode

LIFE_S_MAX: Final = 24 * 3600


class ApprovalError(ValueError):
    """The approval does not count; the message says why."""


def judge(approval: Approval, text: bytes, what: str, *, approvers: Collection[str], asked_by: str, now_s: int) -> None:
    """Refuse an approval that does not count for `what`, of which `text` is signed. Raises ApprovalError."""
    if approval.approver not in approvers:
        raise ApprovalError("the key is of no approver")
    if approval.approver == asked_by:
        raise ApprovalError("nobody approves what they asked for themselves")
    if not now_s < approval.expires_at <= now_s + LIFE_S_MAX:
        raise ApprovalError(f"an approval ends within {LIFE_S_MAX} s, this one in {approval.expires_at - now_s}")
    if not verifies(approval.approver, approval.signature, text):
        raise ApprovalError(f"the signature is not of this {what}")


def counting(found: Mapping[str, Any], check_one: Callable[[Approval], None]) -> tuple[Approval, ...]:
    """Return the approvals that an item holds and `check_one` does not refuse, one of each approver."""
    counted = []
    for approver, text in sorted(approvals_of(found).items()):
        try:
            approval = decode(text.encode(), Approval)
            check_one(approval)
        except (ApprovalError, MessageError):
            continue
        if approval.approver == approver:
            counted.append(approval)
    return tuple(counted)


def check(found: Mapping[str, Any], approval: Approval, now_s: int) -> None:
    """Refuse an approval of the withdrawal with these attributes that does not count. Raises ApprovalError."""
    name = hashlib.sha256(found["transfer"].encode()).digest()
    judge(
        approval,
        approval_text(name, approval.expires_at),
        "transfer",
        approvers=json.loads(found.get("approvers", "[]")),
        asked_by=found["asked_by"],
        now_s=now_s,
    )


def valid(found: Mapping[str, Any], now_s: int) -> tuple[Approval, ...]:
    """Return the approvals of a withdrawal that count now, one of each approver."""
    return counting(found, lambda approval: check(found, approval, now_s))


def stored(approval: Approval) -> str:
    """Return an approval as it is kept."""
    return encode(approval).decode()
