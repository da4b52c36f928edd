"""A rule on what CloudTrail sees, told to operators within a minute or two."""

from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

CALL: Final = "AWS API Call via CloudTrail"
READS_TOO: Final = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


class TrailRule(events.CfnRule):
    """Publishes one sentence for each call that matches: what it means, which call, by whom, at what time.

    The library's own rule knows no state for reads, and its target would open the topic's key to every rule.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        detail: Mapping[str, Any],
        operators: sns.ITopic,
        undelivered: sqs.IQueue,
    ) -> None:
        """Tell `operators` of every call that looks like `detail`; what cannot be told waits in `undelivered`."""
        super().__init__(
            scope,
            construct_id,
            description=description,
            event_pattern={"detail-type": [CALL], "detail": detail},
            state=READS_TOO,
            targets=[
                events.CfnRule.TargetProperty(
                    id="Operators",
                    arn=operators.topic_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=10, maximum_event_age_in_seconds=3600
                    ),
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={
                            "action": "$.detail.eventName",
                            "by": "$.detail.userIdentity.arn",
                            "at": "$.detail.eventTime",
                        },
                        input_template=f'"{description}: <action> by <by> at <at>."',
                    ),
                )
            ],
        )
        let_leave(self, undelivered)


def let_rules_publish(topic: sns.ITopic) -> None:
    """Let rules of the topic's own account publish to it."""
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(topic).account}},
        )
    )


def let_leave(rule: events.CfnRule, queue: sqs.IQueue) -> None:
    """Let `rule` leave in `queue` what it could not deliver."""
    queue.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
        )
    )
