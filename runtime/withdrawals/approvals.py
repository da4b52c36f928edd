"""Two people's yes to one exact transfer: signatures that the enclave verifies once more by itself. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from runtime.wallet_enclave.manifest import verifies
from runtime.wallet_enclave.messages import Approval, MessageError, approval_text, decode, encode
from runtime.withdrawals.register import approvals_of

LIFE_S_MAX: Final = 24 * 3600


class ApprovalError(ValueError):
    """The approval does not count; the message says why."""


def check(found: Mapping[str, Any], approval: Approval, now_s: int) -> None:
    """Refuse an approval of the withdrawal with these attributes that does not count. Raises ApprovalError."""
    if approval.approver not in json.loads(found.get("approvers", "[]")):
        raise ApprovalError("the key is of no approver")
    if approval.approver == found["asked_by"]:
        raise ApprovalError("nobody approves what they asked for themselves")
    if not now_s < approval.expires_at <= now_s + LIFE_S_MAX:
        raise ApprovalError(f"an approval ends within {LIFE_S_MAX} s, this one in {approval.expires_at - now_s}")
    name = hashlib.sha256(found["transfer"].encode()).digest()
    if not verifies(approval.approver, approval.signature, approval_text(name, approval.expires_at)):
        raise ApprovalError("the signature is not of this transfer")


def valid(found: Mapping[str, Any], now_s: int) -> tuple[Approval, ...]:
    """Return the approvals of a withdrawal that count now, one of each approver."""
    counted = []
    for approver, text in sorted(approvals_of(found).items()):
        try:
            approval = decode(text.encode(), Approval)
            check(found, approval, now_s)
        except (ApprovalError, MessageError):
            continue
        if approval.approver == approver:
            counted.append(approval)
    return tuple(counted)


def stored(approval: Approval) -> str:
    """Return an approval as it is kept."""
    return encode(approval).decode()
