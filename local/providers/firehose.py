"""Delivery streams. moto takes records put directly; what comes from a stream is put by `local/delivery/`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_BUCKET: Final = "ExtendedS3DestinationConfiguration"
_SHOWN: Final = ("BucketARN", "CompressionFormat", "ErrorOutputPrefix", "Prefix", "RoleARN")


@provides("AWS::KinesisFirehose::DeliveryStream")
class DeliveryStream(Provider):
    """A stream into a bucket."""

    ours = frozenset({"KinesisStreamSourceConfiguration"})
    dropped = MappingProxyType({"DeliveryStreamEncryptionConfigurationInput": "moto keeps nothing on the way"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the stream, as one that records are put into directly."""
        name = wanted.name("DeliveryStreamName", limit=64)
        made = cloud.client("firehose", wanted.region).create_delivery_stream(
            DeliveryStreamName=name, DeliveryStreamType="DirectPut", **{_BUCKET: _destination(wanted)}
        )
        return Placed(name, {"Arn": made["DeliveryStreamARN"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the stream with its bucket."""
        told = cloud.client("firehose", wanted.region).describe_delivery_stream(DeliveryStreamName=placed.ref)
        description = told["DeliveryStreamDescription"]
        return {
            "DeliveryStreamName": placed.ref,
            "DeliveryStreamType": wanted.properties.get("DeliveryStreamType"),
            _BUCKET: description["Destinations"][0]["ExtendedS3DestinationDescription"],
        }

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return what moto keeps of the destination; conversion, buffers and logs are its own affair in AWS."""
        return {**wanted.properties, _BUCKET: _destination(wanted)}


def _destination(wanted: Wanted) -> dict[str, Json]:
    given = wanted.properties[_BUCKET]
    return {key: given[key] for key in _SHOWN if key in given}
