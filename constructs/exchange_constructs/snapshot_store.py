"""Where engines keep snapshots of their state, so that a restart replays only the tail of the journal."""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.private_bucket import PrivateBucket
from exchange_constructs.service_role import ServiceRole

KEPT_DAYS: Final = 30
"""Older snapshots leave. None is needed to keep anything: without one a start replays the journal, which is whole."""


class SnapshotStore(Construct):
    """A bucket of snapshots, in the stack of the engine, its one user. What is written is never changed.

    The engine deletes nothing: a rule of the bucket does, by age.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, access_logs: s3.IBucket
    ) -> None:
        """Create the bucket."""
        super().__init__(scope, construct_id)
        self._key = key
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=key,
            access_logs=access_logs,
            why_single="A snapshot saves time only: the journal, in every zone, has all that it was made of",
        )
        self.bucket.add_lifecycle_rule(expiration=Duration.days(KEPT_DAYS))

    def grant_write_and_read(self, grantee: ServiceRole) -> None:
        """Let `grantee` add, list and read snapshots, but delete none."""
        objects = self.bucket.arn_for_objects("*")
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:ListBucket"], resource_arns=[self.bucket.bucket_arn])
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:GetObject", "s3:PutObject"], resource_arns=[objects])
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
        stack = Stack.of(self)
        bucket_id = stack.resolve(stack.get_logical_id(cast(CfnElement, self.bucket.node.default_child)))
        accept(
            grantee.policy,
            f"AwsSolutions-IAM5[Resource::<{bucket_id}.Arn>/*]",
            reason="A snapshot's name holds its sequence number, known when it is taken; the bucket holds nothing else",
            expires=date(2027, 11, 20),
        )
