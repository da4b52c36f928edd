"""Zones. Nothing resolves them here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::Route53::HostedZone")
class HostedZone(Provider):
    """A zone, public or private."""

    dropped = MappingProxyType({"VPCs": "networks are recorded only", "QueryLoggingConfig": "nothing is resolved here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the zone."""
        config = {"Comment": "", **wanted.properties.get("HostedZoneConfig", {})}
        networks = wanted.properties.get("VPCs")
        where = {"VPC": networks[0]} if networks else {}
        made = cloud.client("route53").create_hosted_zone(
            Name=wanted.properties["Name"],
            CallerReference=wanted.path,
            HostedZoneConfig={**config, "PrivateZone": bool(networks)},
            **where,
        )
        zone = made["HostedZone"]["Id"].rpartition("/")[2]
        return Placed(zone, {"Id": zone, "NameServers": made.get("DelegationSet", {}).get("NameServers", [])})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the id tells all
        """Return the zone."""
        zone = cloud.client("route53").get_hosted_zone(Id=placed.ref)["HostedZone"]
        return {"Name": zone["Name"], "HostedZoneConfig": zone.get("Config", {})}

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the zone with its name as DNS ends it."""
        return {**wanted.properties, "Name": wanted.properties["Name"].rstrip(".") + "."}


@provides("AWS::Route53::HealthCheck")
class HealthCheck(Provider):
    """A check of an address. moto asks nobody."""

    dropped = MappingProxyType({"HealthCheckTags": "tags have no effect here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the check."""
        made = cloud.client("route53").create_health_check(
            CallerReference=wanted.path, HealthCheckConfig=wanted.properties["HealthCheckConfig"]
        )["HealthCheck"]
        return Placed(made["Id"], {"HealthCheckId": made["Id"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the id tells all
        """Return the check; moto shows only part of its configuration."""
        told = cloud.client("route53").get_health_check(HealthCheckId=placed.ref)["HealthCheck"]
        return {"HealthCheckConfig": told["HealthCheckConfig"]}

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return what moto shows of the configuration."""
        given = wanted.properties["HealthCheckConfig"]
        return {**wanted.properties, "HealthCheckConfig": {key: given[key] for key in _SHOWN_OF_CHECK if key in given}}


_SHOWN_OF_CHECK = ("Type", "FullyQualifiedDomainName", "ResourcePath", "Port", "RequestInterval", "FailureThreshold")
