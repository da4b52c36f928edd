"""Event buses, their rules and archives. Matching is moto's, so a rule that can never match shows.

moto fails every `PutEvents` of a bus with a target of a kind it cannot reach, ignores `Input`, and delivers for rules
that are disabled or scheduled. So a rule gets only those targets that moto serves rightly: other buses and log groups.
Each other target is replaced by a queue of its own, which `local/delivery/rules.py` empties into the true target.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from moto.core.models import DEFAULT_ACCOUNT_ID

from local.providers import Placed, Provider, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

PRIVATE: Final = "local-"
"""How the names of those queues begin."""
_SERVED_BY_MOTO: Final = (":event-bus/", ":log-group:")


@provides("AWS::Events::EventBus")
class EventBus(Provider):
    """A bus of our own."""

    dropped = MappingProxyType({"LogConfig": "moto writes no logs of delivery"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the bus."""
        events = cloud.client("events", wanted.region)
        name = wanted.properties["Name"]
        made = events.create_event_bus(
            Name=name, **wanted.pick("Description", "KmsKeyIdentifier", "DeadLetterConfig", "EventSourceName")
        )
        if "Policy" in wanted.properties:
            events.put_permission(EventBusName=name, Policy=text(wanted.properties["Policy"]))
        return Placed(name, {"Arn": made["EventBusArn"], "Name": name})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the bus's description."""
        described: dict[str, Json] = cloud.client("events", wanted.region).describe_event_bus(Name=placed.ref)
        return described


@provides("AWS::Events::EventBusPolicy")
class EventBusPolicy(Provider):
    """One statement in the policy of a bus."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Add the statement to those the bus has."""
        events = cloud.client("events", wanted.region)
        bus = wanted.properties.get("EventBusName", "default")
        statements = [*self._statements(events, bus), _statement(wanted)]
        policy = {"Version": "2012-10-17", "Statement": statements}
        events.put_permission(EventBusName=bus, Policy=json.dumps(policy))
        return Placed(wanted.properties["StatementId"])

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the statement of that id."""
        events = cloud.client("events", wanted.region)
        bus = wanted.properties.get("EventBusName", "default")
        found = [each for each in self._statements(events, bus) if each["Sid"] == placed.ref]
        return {"EventBusName": bus, "StatementId": placed.ref, "Statement": found[-1] if found else None}

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the statement with its id inside."""
        return {**wanted.pick("EventBusName", "StatementId"), "Statement": _statement(wanted)}

    @staticmethod
    def _statements(events: Json, bus: str) -> list[dict[str, Json]]:
        policy = events.describe_event_bus(Name=bus).get("Policy")
        return list(json.loads(policy)["Statement"]) if policy else []


@provides("AWS::Events::Archive")
class Archive(Provider):
    """Every matching event, kept for replay."""

    dropped = MappingProxyType({"KmsKeyIdentifier": "moto keeps archives in memory"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the archive."""
        name = wanted.name("ArchiveName", limit=48)
        given = wanted.pick("Description", "RetentionDays")
        if "EventPattern" in wanted.properties:
            given["EventPattern"] = text(wanted.properties["EventPattern"])
        made = cloud.client("events", wanted.region).create_archive(
            ArchiveName=name, EventSourceArn=wanted.properties["SourceArn"], **given
        )
        return Placed(name, {"Arn": made["ArchiveArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the archive's description."""
        described = cloud.client("events", wanted.region).describe_archive(ArchiveName=placed.ref)
        return {**described, "SourceArn": described["EventSourceArn"]}


@provides("AWS::Events::Rule")
class Rule(Provider):
    """A rule, with those of its targets that moto serves."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the rule and its targets."""
        events = cloud.client("events", wanted.region)
        name = wanted.name("Name", limit=64)
        given = wanted.pick("Description", "EventBusName", "RoleArn", "ScheduleExpression", "State")
        if "EventPattern" in wanted.properties:
            given["EventPattern"] = text(wanted.properties["EventPattern"])
        arn = events.put_rule(Name=name, **given)["RuleArn"]
        bus = wanted.properties.get("EventBusName", "default")
        if targets := _in_moto(wanted):
            sqs = cloud.client("sqs", wanted.region)
            for target in targets:
                if target["Arn"].rpartition(":")[2].startswith(PRIVATE):
                    sqs.create_queue(QueueName=target["Arn"].rpartition(":")[2])
            events.put_targets(Rule=name, EventBusName=bus, Targets=targets)
        return Placed(name if bus == "default" else f"{bus}|{name}", {"Arn": arn})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return rule and targets."""
        events = cloud.client("events", wanted.region)
        name = placed.ref.rpartition("|")[2]
        bus = wanted.properties.get("EventBusName", "default")
        return {
            **events.describe_rule(Name=name, EventBusName=bus),
            "Targets": events.list_targets_by_rule(Rule=name, EventBusName=bus)["Targets"],
        }

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the rule with the targets that moto has."""
        return {**wanted.properties, "Targets": _in_moto(wanted)}


def private_queue(wanted: Wanted, receiver: str) -> str:
    """Return the ARN of the queue that stands for one receiver of what a rule or topic sends."""
    digits = sha256(f"{wanted.path}\n{receiver}".encode()).hexdigest()[:24]
    return f"arn:aws:sqs:{wanted.region}:{DEFAULT_ACCOUNT_ID}:{PRIVATE}{digits}"


def is_served_by_moto(target: Mapping[str, Json]) -> bool:
    """Return whether moto itself delivers to a target, rightly."""
    return any(kind in target["Arn"] for kind in _SERVED_BY_MOTO)


def _in_moto(wanted: Wanted) -> list[dict[str, Json]]:
    if wanted.properties.get("State") == "DISABLED" or "ScheduleExpression" in wanted.properties:
        return []
    return [
        target if is_served_by_moto(target) else {"Id": target["Id"], "Arn": private_queue(wanted, target["Id"])}
        for target in wanted.properties.get("Targets", [])
    ]


def _statement(wanted: Wanted) -> dict[str, Json]:
    return {**wanted.properties["Statement"], "Sid": wanted.properties["StatementId"]}


@provides("AWS::Events::Connection")
class Connection(Provider):
    """How an API of others is authorized."""

    ours = frozenset({"AuthParameters"})
    dropped = MappingProxyType(
        {
            "InvocationConnectivityParameters": "networks are recorded only",
            "KmsKeyIdentifier": "moto keeps it in memory",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the connection."""
        name = wanted.name("Name", limit=64)
        made = cloud.client("events", wanted.region).create_connection(
            Name=name, **wanted.pick("AuthorizationType", "AuthParameters", "Description")
        )
        arn = made["ConnectionArn"]
        secret = cloud.client("events", wanted.region).describe_connection(Name=name).get("SecretArn", "")
        return Placed(name, {"Arn": arn, "ArnForPolicy": arn.rpartition("/")[0], "SecretArn": secret})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the connection's description."""
        told: dict[str, Json] = cloud.client("events", wanted.region).describe_connection(Name=placed.ref)
        return told


@provides("AWS::Events::ApiDestination")
class ApiDestination(Provider):
    """An API of others that events are sent to."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the destination."""
        name = wanted.name("Name", limit=64)
        made = cloud.client("events", wanted.region).create_api_destination(
            Name=name,
            **wanted.pick(
                "ConnectionArn", "Description", "HttpMethod", "InvocationEndpoint", "InvocationRateLimitPerSecond"
            ),
        )
        arn = made["ApiDestinationArn"]
        return Placed(name, {"Arn": arn, "ArnForPolicy": arn.rpartition("/")[0]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the destination's description."""
        told: dict[str, Json] = cloud.client("events", wanted.region).describe_api_destination(Name=placed.ref)
        return told
