"""Clusters, task definitions and services: what the local processes are started from."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, Wanted, camel, pascal, provides, renamed
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_FREE_KEYS: Final = frozenset({"Options", "DockerLabels"})
"""Objects whose keys are names of the user, never to be renamed."""


@provides("AWS::ECS::Cluster")
class Cluster(Provider):
    """A cluster."""

    dropped = MappingProxyType(
        {
            "Configuration": "commands inside containers, of which there are none",
            "ServiceConnectDefaults": "names lead to loopback ports here",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the cluster."""
        name = wanted.name("ClusterName", limit=255)
        given = {
            "settings": _api(wanted.properties.get("ClusterSettings")),
            "capacityProviders": wanted.properties.get("CapacityProviders"),
            "defaultCapacityProviderStrategy": _api(wanted.properties.get("DefaultCapacityProviderStrategy")),
        }
        made = cloud.client("ecs", wanted.region).create_cluster(clusterName=name, **_given(given))["cluster"]
        return Placed(name, {"Arn": made["clusterArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the cluster."""
        (cluster,) = cloud.client("ecs", wanted.region).describe_clusters(
            clusters=[placed.ref], include=["SETTINGS", "CONFIGURATIONS"]
        )["clusters"]
        found: dict[str, Json] = renamed(cluster, pascal)
        return {**found, "ClusterSettings": found.get("Settings")}


@provides("AWS::ECS::TaskDefinition")
class TaskDefinition(Provider):
    """What one task runs."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Register the definition."""
        given = _api({key: value for key, value in wanted.properties.items() if key != "Tags"})
        given.setdefault("family", wanted.name(limit=255))
        made = cloud.client("ecs", wanted.region).register_task_definition(**given)["taskDefinition"]
        return Placed(made["taskDefinitionArn"], {"TaskDefinitionArn": made["taskDefinitionArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the definition."""
        ecs = cloud.client("ecs", wanted.region)
        found: dict[str, Json] = _template(ecs.describe_task_definition(taskDefinition=placed.ref)["taskDefinition"])
        return found


@provides("AWS::ECS::Service")
class Service(Provider):
    """So many tasks of one definition. moto counts none as running; the launcher starts them as processes."""

    dropped = MappingProxyType(
        {
            "AvailabilityZoneRebalancing": "there is one machine",
            "DeploymentConfiguration": "moto forgets it; nothing is rolled out here",
            "EnableECSManagedTags": "tags have no effect here",
            "EnableExecuteCommand": "there are no containers to enter",
            "HealthCheckGracePeriodSeconds": "the launcher waits for health by itself",
            "NetworkConfiguration": "networks are recorded only, and moto asks for those it made",
            "PlatformVersion": "processes run on this machine",
            "ServiceConnectConfiguration": "names lead to loopback ports here",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the service."""
        without = {"Tags", "ServiceName", *self.dropped}
        given = _api({key: value for key, value in wanted.properties.items() if key not in without})
        made = cloud.client("ecs", wanted.region).create_service(
            serviceName=wanted.name("ServiceName", limit=255), **given
        )["service"]
        return Placed(made["serviceArn"], {"Name": made["serviceName"], "ServiceArn": made["serviceArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the service."""
        (service,) = cloud.client("ecs", wanted.region).describe_services(
            cluster=wanted.properties.get("Cluster", "default"), services=[placed.ref]
        )["services"]
        found: dict[str, Json] = _template(service)
        return {**found, "Cluster": found["ClusterArn"].rpartition("/")[2]}

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the service with its cluster by name, which a template may give as an ARN."""
        cluster = wanted.properties.get("Cluster", "default")
        return {**wanted.properties, "Cluster": cluster.rpartition("/")[2] or cluster}


def _api(value: Json) -> Json:
    return _renamed(value, camel)


def _template(value: Json) -> Json:
    return _renamed(value, pascal)


def _renamed(value: Json, rename: Callable[[str], str]) -> Json:
    """Rename every key but those inside objects whose keys the user chose."""
    match value:
        case dict():
            return {
                rename(key): inner if pascal(key) in _FREE_KEYS else _renamed(inner, rename)
                for key, inner in value.items()
            }
        case list():
            return [_renamed(inner, rename) for inner in value]
    return value


def _given(arguments: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in arguments.items() if value is not None}
