"""Tells operators of every use of an account's break-glass role, within a minute or two."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.custody import BREAK_GLASS
from exchange_constructs.trail_rule import TrailRule, let_rules_publish


def uses_of_break_glass(account: str) -> Mapping[str, Mapping[str, Any]]:
    """Return how CloudTrail writes down that the role is assumed in `account`, and that it is at work there."""
    role = f"arn:aws:iam::{account}:role/{BREAK_GLASS}"
    return {
        "Assumed": {
            "eventSource": ["sts.amazonaws.com"],
            "eventName": [{"prefix": "AssumeRole"}],  # also with SAML, as people come, or with another's token
            "requestParameters": {"roleArn": [role]},
        },
        "Acting": {
            "userIdentity": {
                "sessionContext": {"sessionIssuer": {"arn": [role]}},
                "invokedBy": [{"exists": False}],
            }
        },
    }


class BreakGlassWatch(Construct):
    """Rules on the default bus of the home region, where the role is assumed: the organization refuses it elsewhere.

    STS writes an assumption where it was asked, so that this is enough to hear of each one. Of what the role then does
    they tell what is done in this region, and in those that forward it here. Calls that CloudFormation makes as the
    role in a deployment are not told one by one.
    """

    def __init__(self, scope: Construct, construct_id: str, *, operators: sns.ITopic, undelivered: sqs.IQueue) -> None:
        """Watch the role of the stack's account; it need not exist."""
        super().__init__(scope, construct_id)
        let_rules_publish(operators)
        uses = uses_of_break_glass(Stack.of(self).account)
        for name, description in (
            ("Assumed", "The break-glass role was assumed, or somebody tried"),
            ("Acting", "The break-glass role is at work"),
        ):
            TrailRule(
                self,
                name,
                description=description,
                detail=uses[name],
                operators=operators,
                undelivered=undelivered,
            )
