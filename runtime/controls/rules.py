"""What a control asks for: which settings it changes, to what, and whether one operator may do it alone. Pure.

A setting is what somebody wants of one market (its status, its limits) or of all withdrawals. Alone an operator makes
things safer only; what opens a market, lets withdrawals out again or moves a limit needs approvals.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from runtime.shared.catalogue import Catalogue, CatalogueError, Market, first_problem
from runtime.shared.messages import CANCEL_ONLY, HALT, TRADING

STATUSES: Final = {"trading": TRADING, "cancel-only": CANCEL_ONLY, "halt": HALT}
"""Names of the statuses that operators set, from the loosest to the safest."""
STATUS: Final = "status"
LIMITS: Final = "limits"
WITHDRAWALS: Final = "withdrawals"
KINDS: Final = (STATUS, LIMITS, WITHDRAWALS)
ALL: Final = "ALL"
"""Every market of the catalogue."""
OPEN: Final = "open"
HALTED: Final = "halt"
SAFER_ALONE: Final = {
    (STATUS, "halt"): ("trading", "cancel-only", "halt"),
    (STATUS, "cancel-only"): ("trading", "cancel-only"),
    (WITHDRAWALS, HALTED): (OPEN, HALTED),
}
"""What one operator may do alone, and from where: cancel-only is safer than trading, and opens a halted market."""
ADJUSTABLE: Final = (
    "band_down_ppm",
    "band_up_ppm",
    "max_quantity",
    "max_market_quantity",
    "max_notional",
    "max_position",
    "open_orders_max",
    "interruption_ppm",
)
"""Limits of a market that operators change while it trades; what else a market is, only a deployment changes."""


class ControlError(ValueError):
    """What is asked for cannot be done; the message says what was given and what is allowed."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control as it was asked for."""

    kind: str
    symbol: str
    """A market, or ALL; empty for withdrawals."""
    value: str
    """A status; `open` or `halt` of withdrawals; JSON of limits."""

    @property
    def alone_from(self) -> tuple[str, ...]:
        """From which values one operator may do this alone; none: it needs approvals."""
        return SAFER_ALONE.get((self.kind, self.value), ())

    def settings(self, catalogue: Catalogue) -> tuple[str, ...]:
        """Return the names of the settings that this changes. Raises ControlError for an unknown market."""
        if self.kind == WITHDRAWALS:
            return (WITHDRAWALS,)
        if self.symbol != ALL and self.symbol not in catalogue.market_by_symbol:
            known = ", ".join(catalogue.market_by_symbol)
            raise ControlError(f"symbol: must be {ALL} or one of {known}, was {self.symbol!r}")
        symbols = [each.symbol for each in catalogue.markets] if self.symbol == ALL else [self.symbol]
        return tuple(f"{self.kind}#{symbol}" for symbol in symbols)


def control_of(kind: str, symbol: str, value: str, limits: Mapping[str, str | int], catalogue: Catalogue) -> Control:
    """Return what is asked for, checked against the catalogue. Raises ControlError."""
    if kind == LIMITS:
        if symbol == ALL:
            raise ControlError(f"symbol: limits are of one market, was {ALL}")
        asked = Control(kind, symbol, json.dumps(dict(limits), sort_keys=True))
        asked.settings(catalogue)
        with_limits(catalogue, symbol, limits)
        return asked
    allowed = tuple(STATUSES) if kind == STATUS else (OPEN, HALTED)
    if value not in allowed:
        raise ControlError(f"value: must be one of {', '.join(allowed)}, was {value!r}")
    asked = Control(kind, "" if kind == WITHDRAWALS else symbol, value)
    asked.settings(catalogue)
    return asked


def with_limits(catalogue: Catalogue, symbol: str, limits: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue with other limits of one market. Raises ControlError, also where they break its rules."""
    if not limits or (unknown := set(limits) - set(ADJUSTABLE)):
        named = ", ".join(sorted(unknown)) if limits else "none"
        raise ControlError(f"limits: must be some of {', '.join(ADJUSTABLE)}, was {named}")
    try:
        changed = {
            each.symbol: Market.model_validate(each.model_dump() | dict(limits)) if each.symbol == symbol else each
            for each in catalogue.markets
        }
        return Catalogue.model_validate(catalogue.model_dump() | {"markets": tuple(changed.values())})
    except ValidationError as error:
        raise ControlError(f"limits of {symbol}: {first_problem(error)}") from None
    except CatalogueError as error:
        raise ControlError(f"limits of {symbol}: {error}") from None


def is_looser(wanted: str, actual: int) -> bool:
    """Tell whether a market lets more happen than is wanted of it. An auction counts as trading."""
    order = (HALT, CANCEL_ONLY)
    strict = {"halt": 0, "cancel-only": 1}.get(wanted, len(order))
    return (order.index(actual) if actual in order else len(order)) > strict
