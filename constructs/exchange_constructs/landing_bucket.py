"""Where files of another trader land before anything is believed of them."""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.private_bucket import PrivateBucket
from exchange_constructs.service_role import ServiceRole

INCOMING: Final = "incoming/"
REPORTS: Final = "reports/"


class LandingBucket(PrivateBucket):
    """Files come under `incoming/`, reports of what differs are written under `reports/`; all of it leaves in time."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, access_logs: s3.IBucket
    ) -> None:
        """Create the bucket. There is no copy of it: the predecessor still has what it sent."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            key=key,
            access_logs=access_logs,
            kept_days=config.migration.landing_days,
        )
        self._key = key

    def grant_check(self, grantee: ServiceRole) -> None:
        """Let `grantee` read what came in, and write reports."""
        for action, prefix in (("s3:GetObject", INCOMING), ("s3:PutObject", REPORTS)):
            iam.Grant.add_to_principal(
                grantee=grantee, actions=[action], resource_arns=[self.arn_for_objects(f"{prefix}*")]
            )
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
        stack = Stack.of(self)
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, self.node.default_child)))
        accept(
            grantee.policy,
            *(f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/{prefix}*]" for prefix in (INCOMING, REPORTS)),
            reason="The sender names folders, and a report is named by its run; each of the two prefixes has one use",
            expires=date(2027, 11, 20),
        )
