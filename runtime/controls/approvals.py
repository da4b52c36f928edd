"""Two operators' yes to one exact control, as signatures by keys that the configuration lists. Pure.

What is signed has the turn of each setting when it was asked for: a yes to open a market is of the halt that was
looked at, and of no later one.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from runtime.controls.register import asked_text
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import counting, judge

NEEDED: Final = 2


def approval_text(found: Mapping[str, Any], expires_at: int) -> bytes:
    """Return what an approver signs: this control, whole, until `expires_at` (seconds since 1970)."""
    digest = hashlib.sha256(asked_text(found)).digest()
    return b"bursa market control approval 1\n" + digest + expires_at.to_bytes(8, "big")


def check(found: Mapping[str, Any], approval: Approval, approvers: Collection[str], now_s: int) -> None:
    """Refuse an approval of the control with these attributes that does not count. Raises ApprovalError."""
    text = approval_text(found, approval.expires_at)
    judge(approval, text, "control", approvers=approvers, asked_by=found["asked_by"], now_s=now_s)


def valid(found: Mapping[str, Any], approvers: Collection[str], now_s: int) -> tuple[Approval, ...]:
    """Return the approvals of a control that count now, one of each approver."""
    return counting(found, lambda approval: check(found, approval, approvers, now_s))
