"""Two people's yes to one exact request of an operator, as signatures by keys that the configuration lists. Pure.

Two of the list must sign, whoever asked: a person who asks under another's name is then still only one of two.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from runtime.offboarding.register import approvals_of, asked_text
from runtime.wallet_enclave.manifest import verifies
from runtime.wallet_enclave.messages import Approval, MessageError, decode, encode

NEEDED: Final = 2
LIFE_S_MAX: Final = 24 * 3600


class ApprovalError(ValueError):
    """The approval does not count; the message says why."""


def approval_text(found: Mapping[str, Any], expires_at: int) -> bytes:
    """Return what an approver signs: this request, whole, until `expires_at` (seconds since 1970)."""
    digest = hashlib.sha256(asked_text(found)).digest()
    return b"bursa off-boarding approval 1\n" + digest + expires_at.to_bytes(8, "big")


def check(found: Mapping[str, Any], approval: Approval, approvers: Collection[str], now_s: int) -> None:
    """Refuse an approval of the request with these attributes that does not count. Raises ApprovalError."""
    if approval.approver not in approvers:
        raise ApprovalError("the key is of no approver")
    if approval.approver == found["asked_by"]:
        raise ApprovalError("nobody approves what they asked for themselves")
    if not now_s < approval.expires_at <= now_s + LIFE_S_MAX:
        raise ApprovalError(f"an approval ends within {LIFE_S_MAX} s, this one in {approval.expires_at - now_s}")
    if not verifies(approval.approver, approval.signature, approval_text(found, approval.expires_at)):
        raise ApprovalError("the signature is not of this request")


def valid(found: Mapping[str, Any], approvers: Collection[str], now_s: int) -> tuple[Approval, ...]:
    """Return the approvals of a request that count now, one of each approver."""
    counted = []
    for approver, text in sorted(approvals_of(found).items()):
        try:
            approval = decode(text.encode(), Approval)
            check(found, approval, approvers, now_s)
        except (ApprovalError, MessageError):
            continue
        if approval.approver == approver:
            counted.append(approval)
    return tuple(counted)


def stored(approval: Approval) -> str:
    """Return an approval as it is kept."""
    return encode(approval).decode()
