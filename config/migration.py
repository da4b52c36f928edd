"""How an exchange that exists moves here: what is copied, and where its names lead while it does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from config.checks import Checked, between
from config.perimeter import PublicAddress

WEIGHT_WHOLE: Final = 255
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOverConfig(Checked):
    """Where public names lead. Changing `weight` and deploying the stacks Edge and Gateway is the switch, and back.

    `frozen` and `rollback_hours` are intentions that people keep to: no template and no program carries them out.
    """

    predecessor: tuple[PublicAddress, ...]
    """Addresses of the exchange that this one replaces; empty once it is gone, or where there never was one."""
    weight: Annotated[int, between(0, WEIGHT_WHOLE)]
    """Of 255 answers of DNS, so many lead here and the others to the predecessor."""
    frozen: bool
    """Nobody is to trade here yet. All that is checked is that `weight` is then 0, if there is a predecessor."""
    rollback_hours: Annotated[int, between(1, 720)]
    """So long after the switch the predecessor is to be kept ready, with its addresses here. Nothing reads this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationConfig(Checked):
    """Import of what the predecessor has, and the cut-over to this exchange."""

    landing_days: Annotated[int, between(1, 365)]
    """Files of the predecessor leave the landing bucket after so many days."""
    copies_database: bool
    """Run DMS Serverless between the two endpoints that docs/runbooks/cut-over.md has made; it costs by the hour."""
    copy_units_max: Annotated[int, between(1, 384)]
    """DMS capacity units, 2 GiB of memory each."""
    cut_over: CutOverConfig

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        cut_over = self.cut_over
        if not cut_over.predecessor and cut_over.weight != WEIGHT_WHOLE:
            allowed = f"must be {WEIGHT_WHOLE} without a predecessor: there is nowhere else to go"
            yield "migration.cut_over.weight", allowed, cut_over.weight
        if cut_over.frozen and cut_over.predecessor and cut_over.weight:
            yield "migration.cut_over.weight", "must be 0 while the exchange is frozen", cut_over.weight
        if len(set(cut_over.predecessor)) != len(cut_over.predecessor):
            yield "migration.cut_over.predecessor", "must name each address once", list(cut_over.predecessor)
        if self.copy_units_max not in UNITS:
            allowed = f"must be one of {', '.join(map(str, UNITS))}"
            yield "migration.copy_units_max", allowed, self.copy_units_max


UNITS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384)
"""Sizes that DMS Serverless has."""
