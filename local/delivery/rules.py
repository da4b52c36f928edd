"""From the private queues that moto fills to the true receivers: targets of rules, functions that follow a topic."""

import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from local.callers import Caller
from local.cloud import Cloud
from local.delivery import peek
from local.delivery.functions import label
from local.delivery.inputs import shaped
from local.delivery.mappings import Source
from local.delivery.targets import DeliveryError, Targets
from local.deploy import Deployment, Resource
from local.providers.events import is_served_by_moto, private_queue
from local.resolve import Json

RETRIES_BY_DEFAULT: Final = 185
EVENT_AGE_S_BY_DEFAULT: Final = 86_400
BACKOFF_MAX_S: Final = 30
RECEIVED_MAX: Final = 10
EVENTS: Final = "events.amazonaws.com"
TOPICS: Final = "sns.amazonaws.com"
logger = logging.getLogger(__name__)


class RuleError(ValueError):
    """A rule has a target that nothing here delivers to."""


def declared(deployment: Deployment, targets: Targets, cloud: Cloud) -> list[Source]:
    """Return a source for each target of a rule and each function that follows a topic. Raises RuleError."""
    sources: list[Source] = []
    for rule in deployment.of_type("AWS::Events::Rule"):
        given = rule.wanted.properties
        for target in given.get("Targets", []):
            if is_served_by_moto(target):
                continue
            if not targets.can_deliver(target["Arn"]) and ":ecs:" not in target["Arn"]:
                raise RuleError(f"{rule.wanted.path}: nothing here delivers to {target['Arn']}")
            if given.get("State") != "DISABLED" and "ScheduleExpression" not in given:
                sources.append(RuleTarget(rule, target, targets, cloud))
    sources += [
        TopicFollower(each, targets, cloud)
        for each in deployment.of_type("AWS::SNS::Subscription")
        if each.wanted.properties["Protocol"] == "lambda"
    ]
    return sources


class _PrivateQueue:
    """What is common to all that empty a private queue."""

    def __init__(self, arn: str, cloud: Cloud) -> None:
        self._arn = arn
        self._sqs = cloud.client("sqs", arn.split(":")[3])
        self._url = f"{cloud.url}/{cloud.account}/{arn.rpartition(':')[2]}"

    def has_work(self) -> bool:
        """Return whether something waits."""
        return peek.waiting(self._arn) > 0

    def receive(self) -> list[Json]:
        """Return what waits, ten at most."""
        told = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=RECEIVED_MAX, AttributeNames=["All"], VisibilityTimeout=60
        )
        messages: list[Json] = told.get("Messages", [])
        return messages

    def delete(self, message: Json) -> None:
        """Forget a message that was handed over, or given up."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def postpone(self, message: Json, tries: int) -> None:
        """Let a message come back later, and later each time."""
        self._sqs.change_message_visibility(
            QueueUrl=self._url,
            ReceiptHandle=message["ReceiptHandle"],
            VisibilityTimeout=min(2 ** (tries - 1), BACKOFF_MAX_S),
        )


def tries(message: Json) -> int:
    """Return how often a message has been received."""
    return int(message["Attributes"]["ApproximateReceiveCount"])


class RuleTarget(_PrivateQueue):
    """One target of one rule."""

    def __init__(self, rule: Resource, target: Mapping[str, Json], targets: Targets, cloud: Cloud) -> None:
        """Deliver as the role of the target, or as EventBridge where it has none."""
        super().__init__(private_queue(rule.wanted, target["Id"]), cloud)
        self.label = f"{label(rule)} > {target['Arn'].rpartition(':')[2]}"
        self._rule_arn = str(rule.placed.attributes["Arn"])
        self._target = target
        self._targets = targets
        self._account = cloud.account
        retry = target.get("RetryPolicy", {})
        self._retries_max = int(retry.get("MaximumRetryAttempts", RETRIES_BY_DEFAULT))
        self._age_s_max = int(retry.get("MaximumEventAgeInSeconds", EVENT_AGE_S_BY_DEFAULT))

    def step(self) -> None:
        """Deliver what waits; what cannot be delivered comes back, or goes to the dead letters."""
        for message in self.receive():
            event = {**json.loads(message["Body"]), "account": self._account}
            try:
                deliver(self._target, event, self._rule_arn, self._targets)
            except DeliveryError as error:
                self._failed(message, error)
            else:
                self.delete(message)

    def _failed(self, message: Json, error: DeliveryError) -> None:
        retries = tries(message) - 1
        age_s = time.time() - int(message["Attributes"]["SentTimestamp"]) / 1000
        if not error.is_permanent and retries < self._retries_max and age_s < self._age_s_max:
            self.postpone(message, retries + 1)
            return
        logger.warning("%s: %s", self.label, error)
        if dead_letters := self._target.get("DeadLetterConfig", {}).get("Arn"):
            try:
                self._targets.deliver(dead_letters, message["Body"], Caller(service=EVENTS, source=self._rule_arn))
            except DeliveryError as refused:
                logger.error("%s: the dead letters are refused: %s", self.label, refused)  # noqa: TRY400 - expected
        self.delete(message)


def deliver(target: Mapping[str, Json], event: Mapping[str, Json], rule_arn: str, targets: Targets) -> None:
    """Hand one event to one target of a rule. Raises DeliveryError."""
    if ":ecs:" in target["Arn"]:
        logger.info("%s would start a task of %s", rule_arn, target["Arn"])
        return
    role = target.get("RoleArn", "")
    caller = Caller(role=role) if role else Caller(service=EVENTS, source=rule_arn)
    targets.deliver(target["Arn"], shaped(target, event, rule_arn), caller, target)


class TopicFollower(_PrivateQueue):
    """A function that follows a topic."""

    def __init__(self, subscription: Resource, targets: Targets, cloud: Cloud) -> None:
        """Deliver as SNS."""
        given = subscription.wanted.properties
        super().__init__(private_queue(subscription.wanted, given["Endpoint"]), cloud)
        self.label = f"{given['TopicArn'].rpartition(':')[2]} > {given['Endpoint'].rpartition(':')[2]}"
        self._function = given["Endpoint"]
        self._topic = given["TopicArn"]
        self._subscription = subscription.placed.ref
        self._targets = targets

    def step(self) -> None:
        """Hand each notification over as a record of its own."""
        for message in self.receive():
            envelope = json.loads(message["Body"])
            record = {
                "EventVersion": "1.0",
                "EventSubscriptionArn": self._subscription,
                "EventSource": "aws:sns",
                "Sns": {"MessageAttributes": {}, "Subject": None, **envelope, "TopicArn": self._topic},
            }
            try:
                caller = Caller(service=TOPICS, source=self._topic)
                self._targets.deliver(self._function, json.dumps({"Records": [record]}), caller)
            except DeliveryError as error:
                if not error.is_permanent:
                    self.postpone(message, tries(message))
                    continue
                logger.warning("%s: %s", self.label, error)
            self.delete(message)


def scheduled_event(rule: Resource, moment: datetime, account: str, unique: str) -> dict[str, Json]:
    """Return the event of a rule with a schedule."""
    return {
        "version": "0",
        "id": unique,
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": rule.wanted.region,
        "resources": [str(rule.placed.attributes["Arn"])],
        "detail": {},
    }
