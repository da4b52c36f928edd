"""Whose signatures open markets, let withdrawals out again and move limits: the values are in `environments.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from config.checks import Checked, matching

APPROVERS_MIN: Final = 3
"""Two must sign, and nobody signs what they asked for; one more, so that who asked leaves two."""
HaltingCase = Literal["ledger-sum", "ledger-apart", "reserve-short"]
"""Cases that say that money may be missing."""
Problem = tuple[str, str, object]
"""Path of a value, what is allowed, what was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConfig(Checked):
    """Market controls."""

    approvers: Annotated[
        tuple[Annotated[str, matching(r"[0-9a-f]{64}", "an Ed25519 public key, 64 hexadecimal digits")], ...],
        Field(min_length=APPROVERS_MIN),
    ]
    """Whose signatures count. What makes things safer needs none."""
    halting_cases: Annotated[tuple[HaltingCase, ...], Field(min_length=1)]
    """Cases that halt withdrawals when they are opened, before anybody has looked."""

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        if len(set(self.approvers)) != len(self.approvers):
            yield "controls.approvers", "must name each key once", list(self.approvers)
        if len(set(self.halting_cases)) != len(self.halting_cases):
            yield "controls.halting_cases", "must name each kind once", list(self.halting_cases)
