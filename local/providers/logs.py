"""Log groups and the metrics made of them. Local processes write their logs to files."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, camel, pascal, provides, renamed
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::Logs::LogGroup")
class LogGroup(Provider):
    """A log group with its retention and key."""

    dropped = MappingProxyType({"DeletionProtectionEnabled": "nothing is deleted here"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the group."""
        logs = cloud.client("logs", wanted.region)
        name = wanted.name("LogGroupName", limit=512)
        given = renamed(wanted.pick("KmsKeyId", "LogGroupClass"), camel)
        logs.create_log_group(logGroupName=name, **given)
        if "RetentionInDays" in wanted.properties:
            logs.put_retention_policy(logGroupName=name, retentionInDays=wanted.properties["RetentionInDays"])
        arn = f"arn:aws:logs:{wanted.region}:{cloud.account}:log-group:{name}:*"
        return Placed(name, {"Arn": arn})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the group."""
        logs = cloud.client("logs", wanted.region)
        groups = logs.describe_log_groups(logGroupNamePrefix=placed.ref)["logGroups"]
        group = next(each for each in groups if each["logGroupName"] == placed.ref)
        return {
            "LogGroupName": group["logGroupName"],
            "RetentionInDays": group.get("retentionInDays"),
            "KmsKeyId": group.get("kmsKeyId"),
            "LogGroupClass": group.get("logGroupClass", "STANDARD"),
        }


@provides("AWS::Logs::MetricFilter")
class MetricFilter(Provider):
    """A metric counted in a log group."""

    dropped = MappingProxyType({"ApplyOnTransformedLogs": "moto transforms none"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the filter."""
        name = wanted.name("FilterName", limit=512)
        cloud.client("logs", wanted.region).put_metric_filter(
            logGroupName=wanted.properties["LogGroupName"],
            filterName=name,
            filterPattern=wanted.properties["FilterPattern"],
            metricTransformations=[_transformation(each) for each in wanted.properties["MetricTransformations"]],
        )
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the filter."""
        logs = cloud.client("logs", wanted.region)
        (found,) = logs.describe_metric_filters(
            logGroupName=wanted.properties["LogGroupName"], filterNamePrefix=placed.ref
        )["metricFilters"]
        return {
            "FilterName": found["filterName"],
            "FilterPattern": found["filterPattern"],
            "LogGroupName": found["logGroupName"],
            "MetricTransformations": found["metricTransformations"],
        }

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the metric in the API's words."""
        transformations = [_transformation(each) for each in wanted.properties["MetricTransformations"]]
        return {**wanted.properties, "MetricTransformations": transformations}


def _transformation(given: Mapping[str, Json]) -> Json:
    return {
        camel(key): {each["Key"]: each["Value"] for each in value} if key == "Dimensions" else value
        for key, value in given.items()
    }


@provides("AWS::Logs::ResourcePolicy")
class ResourcePolicy(Provider):
    """Which services may write logs."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the policy."""
        name = wanted.properties["PolicyName"]
        cloud.client("logs", wanted.region).put_resource_policy(
            policyName=name, policyDocument=wanted.properties["PolicyDocument"]
        )
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the policy."""
        policies = cloud.client("logs", wanted.region).describe_resource_policies()["resourcePolicies"]
        (found,) = (each for each in policies if each["policyName"] == placed.ref)
        policy: dict[str, Json] = renamed(found, pascal)
        return policy


@provides("AWS::Logs::LogStream")
class LogStream(Provider):
    """A stream of a log group."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the stream."""
        name = wanted.name("LogStreamName", limit=512)
        cloud.client("logs", wanted.region).create_log_stream(
            logGroupName=wanted.properties["LogGroupName"], logStreamName=name
        )
        return Placed(name)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the stream."""
        group = wanted.properties["LogGroupName"]
        streams = cloud.client("logs", wanted.region).describe_log_streams(
            logGroupName=group, logStreamNamePrefix=placed.ref
        )["logStreams"]
        return {"LogGroupName": group, "LogStreamName": streams[0]["logStreamName"]}
