"""Queues and their policies. moto keeps a queue's policy without enforcing it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, Wanted, provides, scalar, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_DOCUMENTS: Final = frozenset({"RedrivePolicy", "RedriveAllowPolicy"})


@provides("AWS::SQS::Queue")
class Queue(Provider):
    """A queue with every attribute of its template."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the queue."""
        sqs = cloud.client("sqs", wanted.region)
        is_fifo = bool(wanted.properties.get("FifoQueue"))
        name = wanted.name("QueueName", limit=80, suffix=".fifo" if is_fifo else "")
        attributes = {
            key: text(value) if key in _DOCUMENTS else scalar(value)
            for key, value in wanted.properties.items()
            if key not in {"QueueName", "Tags"}
        }
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return Placed(url, {"Arn": arn, "QueueName": name, "QueueUrl": url})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the queue's attributes."""
        sqs = cloud.client("sqs", wanted.region)
        attributes = sqs.get_queue_attributes(QueueUrl=placed.ref, AttributeNames=["All"])["Attributes"]
        return {**attributes, "QueueName": placed.attributes["QueueName"]}


@provides("AWS::SQS::QueuePolicy")
class QueuePolicy(Provider):
    """The policy of some queues."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Set the policy on each queue."""
        sqs = cloud.client("sqs", wanted.region)
        for url in wanted.properties["Queues"]:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": text(wanted.properties["PolicyDocument"])})
        return Placed(wanted.name(), {"Id": wanted.name()})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the policy has no id
        """Return the policy of the queues; with several, the shortest, which is one that was not set."""
        sqs = cloud.client("sqs", wanted.region)
        policies = {
            url: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"].get("Policy", "")
            for url in wanted.properties["Queues"]
        }
        return {"Queues": list(policies), "PolicyDocument": min(policies.values(), key=len)}
