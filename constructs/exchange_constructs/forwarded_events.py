"""What only another region hears, told at home as well."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment
from exchange_constructs.break_glass_watch import uses_of_break_glass
from exchange_constructs.detectors import FINDINGS
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trail_rule import CALL, READS_TOO


class ForwardedEvents(Construct):
    """Findings, and uses of the break-glass role, go on to the home region's default bus, whose rules wait for both.

    Security Hub itself brings findings together only in a region that every account has from the start; Jakarta is one
    that an account must first enable.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, undelivered: sqs.IQueue) -> None:
        """Forward from the default bus of the stack's region. What does not arrive within six hours is `undelivered`.

        That queue must lie under a key that EventBridge may use.
        """
        super().__init__(scope, construct_id)
        account = Stack.of(self).account
        self._home = f"arn:aws:events:{config.region}:{account}:event-bus/default"
        self._undelivered = undelivered
        undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[undelivered.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                # The queue is made before these rules, in another stack, and cannot name them.
                conditions={"StringEquals": {"aws:SourceAccount": account}},
            )
        )
        self._forwarder = ServiceRole(
            self, "Role", service="events.amazonaws.com", description="Puts events on the home region's bus"
        )
        self._forwarder.add_to_policy(iam.PolicyStatement(actions=["events:PutEvents"], resources=[self._home]))
        for name, (source, detail) in FINDINGS.items():
            self._forward(name, {"source": [source], "detail": detail})
        for name, detail in uses_of_break_glass(account).items():
            self._forward(name, {"detail-type": [CALL], "detail": detail})

    def _forward(self, name: str, pattern: Mapping[str, Any]) -> None:
        rule = events.CfnRule(
            self,
            name,
            description=f"{name}, to the home region",
            event_pattern=pattern,
            state=READS_TOO,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Home",
                    arn=self._home,
                    role_arn=self._forwarder.role_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._undelivered.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=10, maximum_event_age_in_seconds=6 * 3600
                    ),
                )
            ],
        )
        rule.node.add_dependency(self._forwarder.policy)
