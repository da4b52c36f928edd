"""Parameters."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::SSM::Parameter")
class Parameter(Provider):
    """A parameter with its value."""

    dropped = MappingProxyType({"Policies": "nothing expires here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the parameter."""
        name = wanted.name("Name", limit=1011)
        cloud.client("ssm", wanted.region).put_parameter(
            Name=name, **wanted.pick("AllowedPattern", "DataType", "Description", "Tier", "Type", "Value")
        )
        return Placed(name, wanted.pick("Type", "Value"))

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the parameter with its metadata."""
        ssm = cloud.client("ssm", wanted.region)
        named = [{"Key": "Name", "Option": "Equals", "Values": [placed.ref]}]
        (described,) = ssm.describe_parameters(ParameterFilters=named)["Parameters"]
        return {**described, **ssm.get_parameter(Name=placed.ref)["Parameter"]}
