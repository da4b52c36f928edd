"""Names inside the private network. Locally they lead to loopback ports, through the launcher instead of DNS."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::ServiceDiscovery::PrivateDnsNamespace")
class PrivateDnsNamespace(Provider):
    """A private zone."""

    dropped = MappingProxyType({"Vpc": "networks are recorded only", "Properties": "a zone nobody resolves"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the namespace."""
        discovery = cloud.client("servicediscovery", wanted.region)
        operation = discovery.create_private_dns_namespace(
            **wanted.pick("Name", "Description", "Vpc"), CreatorRequestId=wanted.path
        )["OperationId"]
        namespace = discovery.get_operation(OperationId=operation)["Operation"]["Targets"]["NAMESPACE"]
        found = discovery.get_namespace(Id=namespace)["Namespace"]
        zone = found["Properties"]["DnsProperties"].get("HostedZoneId", "")
        return Placed(namespace, {"Arn": found["Arn"], "HostedZoneId": zone, "Id": namespace})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the namespace."""
        discovery = cloud.client("servicediscovery", wanted.region)
        found: dict[str, Json] = discovery.get_namespace(Id=placed.ref)["Namespace"]
        return found


@provides("AWS::ServiceDiscovery::Service")
class DiscoveryService(Provider):
    """One name in a namespace."""

    dropped = MappingProxyType(
        {
            "HealthCheckCustomConfig": "the launcher watches its processes by itself",
            "Name": "told as part of the namespace",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the name."""
        made = cloud.client("servicediscovery", wanted.region).create_service(
            **wanted.pick("Description", "DnsConfig", "HealthCheckConfig", "Name", "NamespaceId", "Type"),
            CreatorRequestId=wanted.path,
        )["Service"]
        return Placed(made["Id"], {"Arn": made["Arn"], "Id": made["Id"], "Name": made["Name"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the name."""
        discovery = cloud.client("servicediscovery", wanted.region)
        found: dict[str, Json] = discovery.get_service(Id=placed.ref)["Service"]
        return {**found, "NamespaceId": found["NamespaceId"]}
