"""Deliveries that moto makes by itself, without a request that could be judged: they are judged once, at the start.

A topic's message to a queue, an alarm's to a topic, a bucket's to a queue or topic: in AWS each needs the policy of the
receiver and of the receiver's key. moto asks for neither, so a missing one is a lost message there and none here.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final
from urllib.parse import urlencode

from local.callers import Caller
from local.deploy import Deployment, Resource
from local.grants.guard import Guard
from local.grants.requests import Request
from local.resolve import Json

_ALARM_ACTIONS: Final = ("AlarmActions", "InsufficientDataActions", "OKActions")
_FORM: Final = "application/x-www-form-urlencoded"


class UngrantedDeliveryError(ValueError):
    """A service of AWS may not deliver what a template has it deliver. The message names who, what and where."""


def check(deployment: Deployment, guard: Guard, account: str) -> int:
    """Judge every such delivery; return how many there are. Raises UngrantedDeliveryError if grants are enforced."""
    count = 0
    for caller, receiver in _deliveries(deployment):
        request = _request(receiver, guard, account)
        if request is None:
            continue
        count += 1
        if refused := guard.judge(caller, request):
            raise UngrantedDeliveryError(refused.body.decode())
    return count


def _deliveries(deployment: Deployment) -> Iterator[tuple[Caller, str]]:
    """Yield who delivers, and the ARN of where to."""
    for subscription in deployment.of_type("AWS::SNS::Subscription"):
        given = subscription.wanted.properties
        if given["Protocol"] == "sqs":
            yield Caller(service="sns.amazonaws.com", source=given["TopicArn"]), given["Endpoint"]
        if dead_letters := given.get("RedrivePolicy", {}).get("deadLetterTargetArn"):
            yield Caller(service="sns.amazonaws.com", source=given["TopicArn"]), dead_letters
    for alarm in deployment.of_type("AWS::CloudWatch::Alarm"):
        caller = Caller(service="cloudwatch.amazonaws.com", source=_arn(alarm))
        actions = (alarm.wanted.properties.get(kind, []) for kind in _ALARM_ACTIONS)
        yield from ((caller, action) for action in chain.from_iterable(actions))
    for bucket in deployment.of_type("AWS::S3::Bucket"):
        caller = Caller(service="s3.amazonaws.com", source=_arn(bucket))
        yield from ((caller, receiver) for receiver in _notified(bucket.wanted.properties))
    for bus in deployment.of_type("AWS::Events::EventBus"):
        if dead_letters := bus.wanted.properties.get("DeadLetterConfig", {}).get("Arn"):
            yield Caller(service="events.amazonaws.com", source=_arn(bus)), dead_letters


def _notified(bucket: Mapping[str, Json]) -> Iterator[str]:
    notifications = bucket.get("NotificationConfiguration", {})
    yield from (each["Queue"] for each in notifications.get("QueueConfigurations", []))
    yield from (each["Topic"] for each in notifications.get("TopicConfigurations", []))


def _request(receiver: str, guard: Guard, account: str) -> Request | None:
    """Return the request that would deliver to a queue or topic; None for another kind of receiver."""
    _arn, _aws, service, region, _account, name = receiver.split(":", 5)
    match service:
        case "sqs":
            target, form = "AmazonSQS.SendMessage", ""
            body = json.dumps({"QueueUrl": f"https://sqs/{account}/{name}"})
        case "sns":
            target, form = "", _FORM
            body = urlencode({"Action": "Publish", "TopicArn": receiver})
        case _:
            return None
    return Request(
        known=guard.known,
        account=account,
        region=region,
        service=service,
        target=target,
        method="POST",
        path="/",
        query="",
        headers={"CONTENT_TYPE": form},
        body=body.encode(),
    )


def _arn(resource: Resource) -> str:
    return str(resource.placed.attributes["Arn"])
