"""Delivery of reports: a role and a queue for each recipient, a register of what was offered and what was fetched."""

from collections.abc import Mapping
from typing import Any, Final, cast

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_events as events
from constructs import Construct

from config.model import Environment
from config.records import Recipient
from exchange_constructs.account_role import AccountRole
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.log_metric import DELIVERIES_LATE, LogMetrics
from exchange_constructs.private_queue import PrivateQueue
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_table import RecordTable
from exchange_constructs.service_role import grant_decrypt_by
from runtime.shared.business_events import ReportFiled

TAKEN_FOR: Final = Duration.minutes(15)
"""So long a notice that was taken is out of sight: time to fetch a report before it is taken again."""


class ReportDelivery(Construct):
    """Reports stay where they are filed: a recipient is told of each and fetches it.

    The register and the functions are there without any recipient as well, and then have nothing to do.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        platform: FunctionPlatform,
        bus: events.IEventBus,
        reports: RecordBucket,
    ) -> None:
        """Create them; the recipients are those of `config.records`."""
        super().__init__(scope, construct_id)
        self._config, self._platform, self._reports = config, platform, reports
        self.register = RecordTable(
            self, "Register", config=config, key=keys.data, item_key="recipient", sort_key="report_day"
        )
        recipients = config.records.recipients
        self.doors = {
            name: RecipientDoor(
                self, name.title(), config=config, platform=platform, recipient=recipient, reports=reports
            )
            for name, recipient in recipients.items()
        }
        self.courier = self._courier(recipients, bus)
        self.witness = self._witness()
        CfnOutput(Stack.of(self), "DeliveryTableName", value=self.register.table_name)
        CfnOutput(Stack.of(self), "WitnessFunctionName", value=self.witness.function.function_name)

    def _courier(self, recipients: Mapping[str, Recipient], bus: events.IEventBus) -> EventFunction:
        told = [
            {
                "name": name,
                "queue_url": self.doors[name].notices.queue_url,
                "reports": list(recipient.reports),
                "deliver_within_s": recipient.deliver_within_hours * 3600,
            }
            for name, recipient in recipients.items()
        ]
        courier = self._function(
            "Courier",
            "offer",
            "Tells recipients of reports that were filed",
            {"RECIPIENTS": self._json(told), "REPORT_BUCKET": self._reports.bucket_name},
            timeout=Duration.minutes(2),
        )
        self.register.grant_calls(courier.role, "Query", "UpdateItem")
        for door in self.doors.values():
            door.notices.grant(courier.role, "sqs:SendMessage")
        names = sorted({name for recipient in recipients.values() for name in recipient.reports})
        for name in names:
            self._reports.grant_fetch(courier.role, prefix=f"{name}/")
        if names:
            courier.on_event("Filed", bus=bus, pattern=BusinessEvents.pattern(ReportFiled, detail={"report": names}))
        courier.on_schedule(
            "Hourly", schedule=events.Schedule.cron(minute="50"), description="Reports that were not offered yet"
        )
        LogMetrics(self, "Metrics", log_group=courier.log_group, metrics=(DELIVERIES_LATE,))
        return courier

    def _witness(self) -> EventFunction:
        by_role = {door.role.role_arn: name for name, door in self.doors.items()}
        witness = self._function(
            "Witness",
            "fetched",
            "Registers that a recipient has fetched a report",
            {"RECIPIENT_BY_ROLE": self._json(by_role)},
        )
        self.register.grant_calls(witness.role, "UpdateItem")
        if by_role:
            # The trail records every access to an object, and tells of it on the account's own bus.
            rule = witness.on_event(
                "Fetched",
                bus=None,
                pattern=events.EventPattern(
                    source=["aws.s3"],
                    detail_type=["AWS API Call via CloudTrail"],
                    detail={
                        "eventSource": ["s3.amazonaws.com"],
                        "eventName": ["GetObject"],
                        "errorCode": [{"exists": False}],
                        "requestParameters": {"bucketName": [self._reports.bucket_name]},
                        "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": list(by_role)}}},
                    },
                ),
            )
            # The library's own rule knows no state for reads.
            cast(events.CfnRule, rule.node.default_child).state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
        return witness

    def _function(
        self,
        name: str,
        handler: str,
        description: str,
        environment: Mapping[str, str],
        timeout: Duration | None = None,
    ) -> EventFunction:
        return EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service="reporting",
            handler=f"handler_delivery.{handler}",
            description=description,
            environment={"DELIVERY_TABLE": self.register.table_name, **environment},
            timeout=timeout,
            concurrency=2,
        )

    def _json(self, value: Any) -> str:  # noqa: ANN401 - what JSON can say
        return Stack.of(self).to_json_string(value)


class RecipientDoor(Construct):
    """What one recipient comes in by: its machines take the role, read its reports, and empty its queue of notices."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        recipient: Recipient,
        reports: RecordBucket,
    ) -> None:
        """Create role and queue for `recipient`, and tell both in the outputs of the stack."""
        super().__init__(scope, construct_id)
        key = platform.keys.messages
        unread = DeadLetters(self, "Unread", config=config, key=key, last=platform.last_letters)
        self.notices = PrivateQueue(self, "Notices", config=config, key=key, dead_letters=unread, taken_for=TAKEN_FOR)
        self.role = AccountRole(
            self,
            "Role",
            account=recipient.account,
            external_id=recipient.external_id,
            description=f"Recipient of reports: {construct_id.lower()}",
        )
        for name in recipient.reports:
            reports.grant_fetch(self.role, prefix=f"{name}/")
        self.notices.grant(self.role, "sqs:DeleteMessage", "sqs:ReceiveMessage")
        grant_decrypt_by(self.role, "sqs", key)
        stack = Stack.of(self)
        CfnOutput(stack, f"{construct_id}RoleArn", value=self.role.role_arn)
        CfnOutput(stack, f"{construct_id}NoticesUrl", value=self.notices.queue_url)
