"""Business events, such as an account opened or a market halted: one bus, with archive, replay, dead letters."""

import inspect
import json
from collections.abc import Mapping, Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_eventschemas as schemas
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.service_logs import ServiceLogs
from runtime.shared.business_events import EVENTS, BusinessEvent, draft4_schema


class BusinessEvents(Construct):
    """The bus. Never on the order path: what a trader waits for does not go through here."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, logs_key: kms.IKey
    ) -> None:
        """Create the bus, keep every event as long as logs are kept, and let this account alone publish."""
        super().__init__(scope, construct_id)
        self._key = key
        removal_policy = RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY
        self.last_letters = DeadLetters(self, "LastLetters", config=config, key=key, last=None)
        self.undelivered = DeadLetters(self, "Undelivered", config=config, key=key, last=self.last_letters)
        self.bus = events.EventBus(
            self,
            "Bus",
            description=f"{config.name}: business events",
            kms_key=key,
            dead_letter_queue=self.undelivered,
            # Without what an event says: the log tells what went wrong, the archive has the event.
            log_config=events.LogConfig(level=events.Level.ERROR, include_detail=events.IncludeDetail.NONE),
        )
        self.undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[self.undelivered.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                conditions={"ArnEquals": {"aws:SourceArn": self.bus.event_bus_arn}},
            )
        )
        self.bus.apply_removal_policy(removal_policy)
        events.Archive(  # not bus.archive(), which drops the key
            self,
            "Archive",
            source_event_bus=self.bus,
            description="Every business event, for replay",
            event_pattern=events.EventPattern(account=[Stack.of(self).account]),
            retention=Duration.days(config.log_retention_days),
            # By its ARN alone: CDK would otherwise write this bus into the policy of the key, in an earlier stack.
            kms_key=kms.Key.from_key_arn(self, "ArchiveKey", key.key_arn),
        )
        self._log_failures(config, logs_key)
        EventContracts(self, "Contracts", config=config)
        self.bus.add_to_resource_policy(
            iam.PolicyStatement(
                sid="OwnAccountOnly",
                effect=iam.Effect.DENY,
                actions=["events:PutEvents"],
                resources=[self.bus.event_bus_arn],
                principals=[iam.AnyPrincipal()],
                conditions={"StringNotEquals": {"aws:PrincipalAccount": Stack.of(self).account}},
            )
        )

    def _log_failures(self, config: Environment, logs_key: kms.IKey) -> None:
        """Write down each delivery that failed, with rule, target and reason; a retry that helped leaves no letter."""
        # Under this prefix log delivery may write by AWS's own policy; other names would each need one of ours.
        name = f"/aws/vendedlogs/events/event-bus/bursa-{config.name}"
        group = ServiceLogs(self, "Failures", config=config, key=logs_key, name=name)
        source = logs.CfnDeliverySource(
            self,
            "FailureSource",
            name=f"bursa-{config.name}-events",
            log_type="ERROR_LOGS",
            resource_arn=self.bus.event_bus_arn,
        )
        destination = logs.CfnDeliveryDestination(
            self,
            "FailureDestination",
            name=f"bursa-{config.name}-events",
            destination_resource_arn=group.log_group_arn,
        )
        delivery = logs.CfnDelivery(
            self,
            "FailureDelivery",
            delivery_source_name=source.name,
            delivery_destination_arn=destination.attr_arn,
        )
        delivery.add_resource_dependency(source)

    @staticmethod
    def pattern(
        *kinds: type[BusinessEvent], detail: Mapping[str, Sequence[object]] | None = None
    ) -> events.EventPattern:
        """Return the pattern of these events of the catalogue, narrowed to those whose `detail` has one of the values.

        Raises ValueError for a field that one of them does not have: such a rule would never match.
        """
        for kind in kinds:
            if unknown := set(detail or {}) - set(kind.model_fields):
                known = ", ".join(kind.model_fields)
                raise ValueError(f"{kind.detail_type} has the fields {known}, not {', '.join(sorted(unknown))}")
        return events.EventPattern(
            source=sorted({kind.source for kind in kinds}),
            detail_type=sorted({kind.detail_type for kind in kinds}),
            detail=detail,
        )

    def grant_publish(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` put events on the bus."""
        self.bus.grant_put_events_to(grantee)
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")


class EventContracts(Construct):
    """A registry of what each event says, made from the very models that programs publish and read with."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Register a schema for each event of the catalogue."""
        super().__init__(scope, construct_id)
        registry = schemas.CfnRegistry(self, "Registry", description=f"{config.name}: business events")
        for event in EVENTS:
            schemas.CfnSchema(
                self,
                event.__name__,
                registry_name=registry.attr_registry_name,
                schema_name=f"{event.source}@{event.detail_type}",
                type="JSONSchemaDraft4",
                description=inspect.cleandoc(event.__doc__ or ""),
                content=json.dumps(draft4_schema(event)),
            )
