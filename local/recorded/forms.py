"""How a recorded type is described."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Why a type is not created, and the form of its Ref and attributes.

    Forms may name {account}, {region}, {service}, {resource}, {name}, {ref}, and {uuid}, {hex8}, {hex17}, {hex32}:
    digits that follow from the path. An empty `ref` is the primary identifier of the type.
    """

    reason: str
    ref: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    name_limit: int = 255
    name_property: str = ""


def of_service(service: str, reason: str, *names: str) -> dict[str, Recorded]:
    """Return types of one service whose Ref is their primary identifier, recorded for one reason."""
    return {f"AWS::{service}::{name}": Recorded(reason=reason) for name in names}


def with_ids(service: str, reason: str, **prefixes: str) -> dict[str, Recorded]:
    """Return types of one service whose Ref is a generated id of a given prefix, such as `tgw-`."""
    return {
        f"AWS::{service}::{name}": Recorded(reason=reason, ref=prefix + "{hex17}") for name, prefix in prefixes.items()
    }
