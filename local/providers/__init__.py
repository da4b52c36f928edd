"""One provider a resource type: it creates the resource through the service's API, then reads back what it became.

A success code proves nothing here, so every property a template gives must be found again in what the API tells. A
property that moto is known to drop stands in `dropped` with its reason, and is shown after the deployment; one that is
neither read back nor listed stops the run. So each new property costs a decision.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

DROPPED_EVERYWHERE: Final = MappingProxyType({"Tags": "tags have no effect here"})


class ProviderError(ValueError):
    """A resource could not be created as its template wants it. The message names the resource."""


class DroppedPropertyError(ProviderError):
    """The API does not show a property as the template gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A resource with every intrinsic resolved."""

    stack: str
    logical_id: str
    type: str
    region: str
    properties: Mapping[str, Json] = field(repr=False)
    create_only: frozenset[str] = frozenset()
    """Properties that cannot change without a new resource."""

    @property
    def path(self) -> str:
        """The same in every synthesis; ids and names follow from it."""
        return f"{self.stack}/{self.logical_id}"

    def name(self, given: str = "", *, limit: int = 128, suffix: str = "") -> str:
        """Return the name the template gives, or one made as CloudFormation makes them.

        A made name changes with any value that would make CloudFormation replace the resource, so what was kept under
        the old name never meets a resource of another shape.
        """
        if given and given in self.properties:
            return str(self.properties[given])
        fixed = {key: self.properties[key] for key in sorted(self.create_only & self.properties.keys())}
        unique = sha256(json.dumps([self.path, fixed], sort_keys=True).encode()).hexdigest()[:12].upper()
        room = limit - len(unique) - len(suffix) - 1
        return f"{self.stack}-{self.logical_id}"[:room].rstrip("-") + f"-{unique}{suffix}"

    def pick(self, *names: str) -> dict[str, Json]:
        """Return those of the named properties that are given."""
        return {name: self.properties[name] for name in names if name in self.properties}


@dataclass(frozen=True, slots=True)
class Placed:
    """What a resource became: the value of `Ref` and those of `Fn::GetAtt`."""

    ref: str
    attributes: Mapping[str, Json] = field(default_factory=dict)


class Provider:
    """Base of every provider. `dropped` names properties that have no effect in moto, each with its reason."""

    dropped: Mapping[str, str] = MappingProxyType({})
    ours: frozenset[str] = frozenset()
    """Properties that this program carries out, reading them from the template: moto is not asked for them."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the resource."""
        raise NotImplementedError

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the properties as the API tells them."""
        raise NotImplementedError

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the wanted properties in the spelling of `read`."""
        return wanted.properties


REGISTRY: Final[dict[str, Provider]] = {}
"""Every type that is created for real."""
_P = TypeVar("_P", bound=Provider)


def provides(type_name: str) -> Callable[[type[_P]], type[_P]]:
    """Register a provider class for a resource type."""

    def register(provider: type[_P]) -> type[_P]:
        assert type_name not in REGISTRY, type_name
        REGISTRY[type_name] = provider()
        return provider

    return register


def check(provider: Provider, wanted: Wanted, placed: Placed, cloud: "Cloud") -> list[str]:
    """Compare what was wanted with what is; return the names of the given properties that are known to be dropped.

    Raises DroppedPropertyError for any other difference.
    """
    found = provider.read(wanted, placed, cloud)
    dropped = DROPPED_EVERYWHERE | provider.dropped
    without_effect = []
    for name, value in provider.view(wanted).items():
        if name in provider.ours:
            continue
        if name in dropped:
            without_effect.append(name)
        elif name not in found:
            raise DroppedPropertyError(
                f"{wanted.path}: {wanted.type}.{name} is neither read back nor listed as dropped; it was {value!r:.120}"
            )
        elif not same(value, found[name]):
            raise DroppedPropertyError(
                f"{wanted.path}: {wanted.type}.{name} was wanted as {value!r:.300}, but the API tells "
                f"{found[name]!r:.300}"
            )
    return [name for name in without_effect if name not in DROPPED_EVERYWHERE]


def same(wanted: Json, found: Json) -> bool:
    """Return whether the API tells what the template wants.

    It may tell more, spell scalars as text, and put lists in another order.
    """
    if isinstance(wanted, dict | list) and isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            return False
    elif isinstance(wanted, str) and isinstance(found, dict | list):
        return same(found, wanted)
    match wanted, found:
        case dict(), dict():
            return all(key in found and same(value, found[key]) for key, value in wanted.items())
        case list(), list():
            return len(wanted) == len(found) and _each_found_once(wanted, found)
        case (dict() | list(), _) | (_, dict() | list()):
            return False
    return scalar(wanted) == scalar(found)


def scalar(value: Json) -> str:
    """Return a scalar in the one spelling that templates and APIs have in common."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _each_found_once(wanted: list[Json], found: list[Json]) -> bool:
    """Return whether each wanted value can be given a found one of its own: a matching, by augmenting paths."""
    taken: dict[int, int] = {}

    def give(place: int, tried: set[int]) -> bool:
        for other in range(len(found)):
            if other in tried or not same(wanted[place], found[other]):
                continue
            tried.add(other)
            if other not in taken or give(taken[other], tried):
                taken[other] = place
                return True
        return False

    return all(give(place, set()) for place in range(len(wanted)))


def text(value: Json) -> str:
    """Return a document as the JSON text that the APIs want; text stays as it is."""
    return value if isinstance(value, str) else json.dumps(value)


def renamed(value: Json, rename: Callable[[str], str]) -> Json:
    """Return `value` with every key of every object renamed."""
    match value:
        case dict():
            return {rename(key): renamed(inner, rename) for key, inner in value.items()}
        case list():
            return [renamed(inner, rename) for inner in value]
    return value


def camel(name: str) -> str:
    """Return `DesiredCount` as `desiredCount`, the spelling of the younger APIs."""
    return name[:1].lower() + name[1:]


def pascal(name: str) -> str:
    """Return `desiredCount` as `DesiredCount`, the spelling of templates."""
    return name[:1].upper() + name[1:]
