"""What outsiders put into a bucket is looked through for malware before anybody opens it."""

from collections.abc import Sequence
from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Stack
from aws_cdk import aws_guardduty as guardduty
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole

SCANNER: Final = "malware-protection-plan.guardduty.amazonaws.com"
MANAGED_RULES: Final = "DO-NOT-DELETE-AmazonGuardDutyMalwareProtectionS3*"
"""Rules of EventBridge by which GuardDuty hears of new objects; it names them."""
PROBE: Final = "malware-protection-resource-validation-object"
"""What GuardDuty writes to see that it may; no other object can it write."""


class UploadScan(Construct):
    """GuardDuty scans each new object and tags it with the result. What it finds is a finding like any other."""

    def __init__(
        self, scope: Construct, construct_id: str, *, bucket: s3.Bucket, key: kms.IKey, prefixes: Sequence[str] = ()
    ) -> None:
        """Scan `bucket`, which is under `key`, or what lies there under `prefixes`."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        role = ServiceRole(self, "Role", service=SCANNER, description="Looks through what was uploaded")
        rules = f"arn:{stack.partition}:events:{stack.region}:{stack.account}:rule/{MANAGED_RULES}"
        objects = bucket.arn_for_objects("*")
        grants: tuple[tuple[Sequence[str], str, dict[str, dict[str, str]]], ...] = (
            (
                ("events:DeleteRule", "events:PutRule", "events:PutTargets", "events:RemoveTargets"),
                rules,
                {"StringEquals": {"events:ManagedBy": SCANNER}},
            ),
            (("events:DescribeRule", "events:ListTargetsByRule"), rules, {}),
            (("s3:GetBucketNotification", "s3:ListBucket", "s3:PutBucketNotification"), bucket.bucket_arn, {}),
            (("s3:PutObject",), bucket.arn_for_objects(PROBE), {}),
            (
                (
                    "s3:GetObject",
                    "s3:GetObjectTagging",
                    "s3:GetObjectVersion",
                    "s3:GetObjectVersionTagging",
                    "s3:PutObjectTagging",
                    "s3:PutObjectVersionTagging",
                ),
                objects,
                {},
            ),
            (
                ("kms:Decrypt", "kms:GenerateDataKey"),
                key.key_arn,
                {"StringEquals": {"kms:ViaService": f"s3.{stack.region}.amazonaws.com"}},
            ),
        )
        for actions, resource, conditions in grants:
            role.add_to_policy(
                iam.PolicyStatement(actions=list(actions), resources=[resource], conditions=conditions or None)
            )
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, bucket.node.default_child)))
        accept(
            role.policy,
            f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/*]",
            f"AwsSolutions-IAM5[Resource::{rules}]",
            reason="Uploads bring their names, and GuardDuty names its rules; a condition holds those to GuardDuty",
            expires=date(2027, 11, 20),
            owner="security",
        )
        plan = guardduty.CfnMalwareProtectionPlan(
            self,
            "Plan",
            role=role.role_arn,
            protected_resource=guardduty.CfnMalwareProtectionPlan.CFNProtectedResourceProperty(
                s3_bucket=guardduty.CfnMalwareProtectionPlan.S3BucketProperty(
                    bucket_name=bucket.bucket_name, object_prefixes=list(prefixes) or None
                )
            ),
            actions=guardduty.CfnMalwareProtectionPlan.CFNActionsProperty(
                tagging=guardduty.CfnMalwareProtectionPlan.CFNTaggingProperty(status="ENABLED")
            ),
        )
        plan.node.add_dependency(role.policy)
