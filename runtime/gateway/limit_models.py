"""How much a client may ask for, as an operator sets it and as clients are told.

Apart from `limits`, which runs compiled: there a model would lose what its class is declared with.
"""

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field


class LimitSettings(BaseModel):
    """What is allowed; order rates come from the tiers of the catalogue."""

    model_config = ConfigDict(frozen=True)

    weight_per_minute: int = Field(default=6_000, ge=1)
    refusals_before_ban: int = Field(default=500, ge=1)
    """Requests refused with 429 within one minute that get an address banned."""
    connects_per_5_minutes: int = Field(default=300, ge=1)


class RateLimit(Struct, rename="camel"):
    """A limit as clients see it: `limit` of a kind in each `interval_num` of `interval`."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int
