"""What people ask functions for: the parts that requests to several of them have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

AssetName = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
ChainName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class Asked(BaseModel):
    """A request as it comes. Errors end up in logs: they name fields, not what a customer gave."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)


class ReceiverAsked(Asked):
    """Who receives, as the travel rule wants to know it."""

    name: Annotated[str, Field(max_length=200)]
    place: Annotated[str, Field(max_length=400)]


class SignedApproval(Asked):
    """One approver's word; what it is about is named beside it."""

    approver: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """An Ed25519 public key in hex."""
    expires_at: Annotated[int, Field(ge=0)]
    """Seconds since 1970."""
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
