"""Signatures of webhooks: HMAC-SHA256 over time and body, with a secret that changes without a gap. Pure."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

TOLERANCE_S: Final = 300
"""How far a partner's clock may be off, and how long a delivery may take."""
BODY_BYTES_MAX: Final = 64 * 1024
_FORM: Final = re.compile(r"t=(\d{10}),v1=([0-9a-f]{64})")


class SignatureError(ValueError):
    """A delivery is not believed. The message says why, and never what the right signature would be."""


def signed(secret: str, now_s: int, body: bytes) -> str:
    """Return the header that a partner with `secret` sends along with `body`."""
    return f"t={now_s},v1={_digest(secret, now_s, body)}"


def verify(header: str, body: bytes, *, secrets: Sequence[str], now_s: int) -> None:
    """Raise SignatureError unless `header` signs `body` with one of `secrets`, not long ago. An empty secret is none.

    Two secrets are in force while one replaces the other.
    """
    found = _FORM.fullmatch(header)
    if found is None:
        raise SignatureError("the signature is t=<unix seconds>,v1=<64 hex digits>")
    if len(body) > BODY_BYTES_MAX:
        raise SignatureError(f"the body has {len(body)} bytes, at most {BODY_BYTES_MAX} are taken")
    at_s = int(found[1])
    if abs(now_s - at_s) > TOLERANCE_S:
        raise SignatureError(f"signed {now_s - at_s} s ago, at most {TOLERANCE_S} are allowed")
    matches = [hmac.compare_digest(_digest(secret, at_s, body), found[2]) for secret in secrets if secret]
    if not any(matches):
        raise SignatureError("the signature is of another secret or another body")


def _digest(secret: str, at_s: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
