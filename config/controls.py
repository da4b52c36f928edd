"""Whose signatures open markets, let withdrawals out again and move limits: the values are in `environments.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from config.checks import Checked, matching

APPROVERS_MIN: Final = 3
"""Two must sign, and nobody signs what they asked for; one more, so that who asked leaves two."""
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

    def problems(self) -> Iterator[Problem]:
        """Yield what the bounds of single values cannot say."""
        if len(set(self.approvers)) != len(self.approvers):
            yield "controls.approvers", "must name each key once", list(self.approvers)
