"""Streams. moto's sequence numbers are small integers: services must not read meaning into them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

RETENTION_HOURS_BY_DEFAULT = 24


@provides("AWS::Kinesis::Stream")
class Stream(Provider):
    """A stream with its capacity, retention and encryption."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the stream."""
        kinesis = cloud.client("kinesis", wanted.region)
        name = wanted.name("Name")
        kinesis.create_stream(StreamName=name, **wanted.pick("ShardCount", "StreamModeDetails"))
        hours = int(wanted.properties.get("RetentionPeriodHours", RETENTION_HOURS_BY_DEFAULT))
        if hours > RETENTION_HOURS_BY_DEFAULT:
            kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=hours)
        if encryption := wanted.properties.get("StreamEncryption"):
            kinesis.start_stream_encryption(StreamName=name, **encryption)
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return Placed(name, {"Arn": summary["StreamARN"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the stream's summary."""
        kinesis = cloud.client("kinesis", wanted.region)
        summary = kinesis.describe_stream_summary(StreamName=placed.ref)["StreamDescriptionSummary"]
        return {
            **summary,
            "Name": summary["StreamName"],
            "ShardCount": summary["OpenShardCount"],
            "StreamEncryption": {"EncryptionType": summary.get("EncryptionType"), "KeyId": summary.get("KeyId")},
        }


@provides("AWS::Kinesis::StreamConsumer")
class StreamConsumer(Provider):
    """A registered consumer. moto pushes nothing: consumers here poll."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Register the consumer."""
        made = cloud.client("kinesis", wanted.region).register_stream_consumer(
            StreamARN=wanted.properties["StreamARN"], ConsumerName=wanted.properties["ConsumerName"]
        )["Consumer"]
        return Placed(made["ConsumerARN"], {"ConsumerARN": made["ConsumerARN"], "ConsumerStatus": "ACTIVE"})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the consumer."""
        told: dict[str, Json] = cloud.client("kinesis", wanted.region).describe_stream_consumer(ConsumerARN=placed.ref)[
            "ConsumerDescription"
        ]
        return told


@provides("AWS::Kinesis::ResourcePolicy")
class ResourcePolicy(Provider):
    """Who may use a stream."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put the policy."""
        arn = wanted.properties["ResourceArn"]
        cloud.client("kinesis", wanted.region).put_resource_policy(
            ResourceARN=arn, Policy=text(wanted.properties["ResourcePolicy"])
        )
        return Placed(arn)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the policy."""
        told = cloud.client("kinesis", wanted.region).get_resource_policy(ResourceARN=placed.ref)
        return {"ResourceArn": placed.ref, "ResourcePolicy": told["Policy"]}
