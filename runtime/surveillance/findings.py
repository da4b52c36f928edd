"""What a detector found, and the case it belongs to. Pure.

A case gathers everything of one kind, in one market, by the same owners, on one business day, so an owner who trades
with themselves a thousand times makes one case with a thousand findings.
"""

from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from runtime.shared.business_day import day_of

WASH_TRADE: Final = "wash-trade"
SPOOFING: Final = "spoofing"
LAYERING: Final = "layering"
VOLUME_SPIKE: Final = "volume-spike"
PUMP: Final = "pump"
RING: Final = "account-ring"
ANOMALY: Final = "anomaly"
KINDS: Final = (WASH_TRADE, SPOOFING, LAYERING, VOLUME_SPIKE, PUMP, RING, ANOMALY)
SEVERITY: Final = {
    WASH_TRADE: "high",
    SPOOFING: "high",
    LAYERING: "high",
    RING: "high",
    ANOMALY: "low",
    VOLUME_SPIKE: "low",
    PUMP: "medium",
}


class Finding(Struct, frozen=True):
    """One occurrence. `figures` hold what was measured and the limit it passed, as integers."""

    kind: str
    market: int
    symbol: str
    accounts: tuple[int, ...]
    """Those who did it, in order; empty when no account stands out."""
    trades: tuple[int, ...]
    orders: tuple[int, ...]
    first_us: int
    last_us: int
    figures: dict[str, int]

    @property
    def case_id(self) -> str:
        """Name of the case, the same for every finding that belongs to it."""
        return _digest([self.kind, self.market, self.accounts, day_of(self.first_us).isoformat()])

    @property
    def finding_id(self) -> str:
        """Name of this finding, the same whenever it is found again."""
        return _digest([self.kind, self.market, self.accounts, self.trades, self.orders, self.first_us])


class FindingError(ValueError):
    """A message that is not a finding; the text says why."""


def encode_finding(finding: Finding) -> str:
    """Return `finding` as a message of the queue, in JSON."""
    return msgspec.json.encode(finding).decode()


def decode_finding(text: str) -> Finding:
    """Return the finding of a message. Raises FindingError for anything else, and for a kind that is not in KINDS."""
    try:
        finding = msgspec.json.decode(text, type=Finding)
    except msgspec.MsgspecError as error:  # ValidationError, DecodeError
        raise FindingError(f"a message must be a finding: {error}") from None
    if finding.kind not in SEVERITY:
        raise FindingError(f"kind must be one of {', '.join(KINDS)}, was {finding.kind!r}")
    if not 0 < finding.first_us <= finding.last_us:
        raise FindingError(f"must have 0 < first_us <= last_us, had {finding.first_us} and {finding.last_us}")
    return finding


def _digest(parts: list[object]) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()[:32]
