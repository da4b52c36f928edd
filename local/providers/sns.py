"""Topics, their subscriptions and policies."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, ProviderError, Wanted, provides, scalar, text
from local.providers.events import private_queue
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_ATTRIBUTES: Final = ("DisplayName", "KmsMasterKeyId", "FifoTopic", "ContentBasedDeduplication")
_OUTSIDE: Final = frozenset({"http", "https", "email", "email-json", "sms"})
"""Protocols whose receivers are not on this machine. moto itself would post to an address of http."""
_SUBSCRIPTION_ATTRIBUTES: Final = ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy")


@provides("AWS::SNS::Topic")
class Topic(Provider):
    """A topic, with the subscriptions its template nests."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the topic."""
        sns = cloud.client("sns", wanted.region)
        name = wanted.name("TopicName", limit=256, suffix=".fifo" if wanted.properties.get("FifoTopic") else "")
        attributes = {key: scalar(value) for key, value in wanted.pick(*_ATTRIBUTES).items()}
        arn = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
        if leaving := [each for each in wanted.properties.get("Subscription", []) if each["Protocol"] in _OUTSIDE]:
            raise ProviderError(f"{wanted.path}: {leaving} leaves this machine; use an AWS::SNS::Subscription")
        for nested in wanted.properties.get("Subscription", []):
            sns.subscribe(TopicArn=arn, **nested)
        return Placed(arn, {"TopicArn": arn, "TopicName": name})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the topic's attributes and subscriptions."""
        sns = cloud.client("sns", wanted.region)
        return {
            **sns.get_topic_attributes(TopicArn=placed.ref)["Attributes"],
            "TopicName": placed.attributes["TopicName"],
            "Subscription": sns.list_subscriptions_by_topic(TopicArn=placed.ref)["Subscriptions"],
        }


@provides("AWS::SNS::Subscription")
class Subscription(Provider):
    """A subscription of its own."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Subscribe."""
        sns = cloud.client("sns", wanted.region)
        attributes = {key: _attribute(value) for key, value in wanted.pick(*_SUBSCRIPTION_ATTRIBUTES).items()}
        receiver = _in_moto(wanted)
        if receiver["Endpoint"] != wanted.properties.get("Endpoint"):
            cloud.client("sqs", wanted.region).create_queue(QueueName=receiver["Endpoint"].rpartition(":")[2])
        made = sns.subscribe(**wanted.pick("TopicArn"), **receiver, Attributes=attributes, ReturnSubscriptionArn=True)
        return Placed(made["SubscriptionArn"], {"Arn": made["SubscriptionArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the subscription's attributes."""
        sns = cloud.client("sns", wanted.region)
        attributes: dict[str, Json] = sns.get_subscription_attributes(SubscriptionArn=placed.ref)["Attributes"]
        return attributes

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the subscription with the receiver that moto has."""
        return {**wanted.properties, **_in_moto(wanted)}


@provides("AWS::SNS::TopicPolicy")
class TopicPolicy(Provider):
    """The policy of some topics."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Set the policy on each topic."""
        sns = cloud.client("sns", wanted.region)
        for arn in wanted.properties["Topics"]:
            sns.set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=text(wanted.properties["PolicyDocument"])
            )
        return Placed(wanted.name(), {"Id": wanted.name()})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the policy has no id
        """Return the policy of the topics; with several, the shortest, which is one that was not set."""
        sns = cloud.client("sns", wanted.region)
        policies = [
            sns.get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"] for arn in wanted.properties["Topics"]
        ]
        return {"Topics": wanted.properties["Topics"], "PolicyDocument": min(policies, key=len)}


def _attribute(value: Json) -> str:
    return text(value) if isinstance(value, dict | list) else scalar(value)


def _in_moto(wanted: Wanted) -> dict[str, Json]:
    """Return protocol and endpoint in moto.

    A function is reached through a queue that `local/delivery/rules.py` empties. What would leave this machine ends in
    such a queue too, which nothing empties: there one may read whom an alarm would have told what.
    """
    given = wanted.pick("Protocol", "Endpoint")
    if given["Protocol"] != "lambda" and given["Protocol"] not in _OUTSIDE:
        return given
    return {"Protocol": "sqs", "Endpoint": private_queue(wanted, given["Endpoint"])}
