"""Buckets of records: written once, unchangeable for years, cheaper as they age."""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.private_bucket import Copied, PrivateBucket
from exchange_constructs.service_role import ServiceRole, grant_decrypt_by

READ_OFTEN_DAYS: Final = 90
DAYS_A_YEAR: Final = 366
"""A day too many rather than one too few."""
ERASES: Final = s3.LifecycleRule(
    tag_filters={"bursa:retention": "over"},
    expiration=Duration.days(1),
    noncurrent_version_expiration=Duration.days(1),
)
"""Takes what a person has marked: files whose years count from the day that somebody left, which S3 cannot know."""


class RecordBucket(PrivateBucket):
    """Every object is locked from the moment it is written, by Object Lock in the environment's mode."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        access_logs: s3.IBucket,
        years: int,
        copied: Copied,
    ) -> None:
        """Create the bucket; each object is `copied`. After `years` objects can go, and do."""
        super().__init__(
            scope,
            construct_id,
            config=config,
            key=key,
            access_logs=access_logs,
            kept_days=years * DAYS_A_YEAR,
            lock=lock_for(config, years),
            copied=copied,
            lifecycle=[
                s3.LifecycleRule(
                    transitions=[
                        s3.Transition(
                            storage_class=s3.StorageClass.GLACIER_INSTANT_RETRIEVAL,
                            transition_after=Duration.days(READ_OFTEN_DAYS),
                        )
                    ],
                )
            ],
        )
        self._key = key

    def grant_add(self, grantee: ServiceRole, *, prefix: str = "") -> None:
        """Let `grantee` write objects under `prefix`; what is there it can neither change nor delete."""
        objects = self.arn_for_objects(f"{prefix}*")
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:PutObject"], resource_arns=[objects])
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
        self._accept_names(grantee, prefix)

    def grant_find(self, grantee: ServiceRole) -> None:
        """Let `grantee` see which objects there are."""
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:ListBucket"], resource_arns=[self.bucket_arn])

    def grant_read_back(self, grantee: ServiceRole, *, prefix: str = "") -> None:
        """Let `grantee` find objects and read those under `prefix`."""
        self.grant_find(grantee)
        self._grant_get(grantee, prefix)
        self._key.grant(grantee, "kms:Decrypt")

    def grant_fetch(self, grantee: ServiceRole, *, prefix: str) -> None:
        """Let `grantee` find and read what is under `prefix`, not see that there is more, and use the key so only."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:ListBucket"],
            resource_arns=[self.bucket_arn],
            conditions={"StringLike": {"s3:prefix": f"{prefix}*"}},
        )
        self._grant_get(grantee, prefix)
        grant_decrypt_by(grantee, "s3", self._key)

    def _grant_get(self, grantee: ServiceRole, prefix: str) -> None:
        objects = self.arn_for_objects(f"{prefix}*")
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:GetObject"], resource_arns=[objects])
        self._accept_names(grantee, prefix)

    def _accept_names(self, grantee: ServiceRole, prefix: str) -> None:
        stack = Stack.of(self)
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, self.node.default_child)))
        accept(
            grantee.policy,
            f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/{prefix}*]",
            reason="Names of records follow from what they hold and are known when they are written, not at deployment",
            expires=date(2027, 11, 20),
        )


def lock_for(config: Environment, years: int) -> s3.ObjectLockRetention:
    """Return the lock of an object from when it is written, for `years`, in the environment's mode."""
    stays = config.records.lock_mode == "COMPLIANCE"
    lock = s3.ObjectLockRetention.compliance if stays else s3.ObjectLockRetention.governance
    return lock(Duration.days(years * DAYS_A_YEAR))
