"""Buckets: private, versioned, reached by TLS only, every access logged."""

from collections.abc import Sequence
from datetime import date
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.alarm_kinds import ENTIRE_BUCKET
from exchange_constructs.nag import HIPAA, NIST, PCI, accept

OLD_VERSIONS_DAYS: Final = 90


class AccessLogBucket(s3.Bucket):
    """Where S3 and the load balancers write who asked for what.

    Those writers accept a bucket under an S3-managed key only, so this one bucket is not under a key of ours.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the bucket; records leave it when the logs' retention ends."""
        super().__init__(
            scope,
            construct_id,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            metrics=[s3.BucketMetrics(id=ENTIRE_BUCKET)],
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(config.log_retention_days),
                    noncurrent_version_expiration=Duration.days(1),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
            ],
        )
        accept(
            self,
            "AwsSolutions-S1",
            *(f"{pack}-S3BucketLoggingEnabled" for pack in (HIPAA, NIST, PCI)),
            reason="This bucket receives the access records of all others; recording its own would feed on itself",
            expires=date(2027, 11, 20),
        )
        accept(
            self,
            *(f"{pack}-S3DefaultEncryptionKMS" for pack in (HIPAA, NIST, PCI)),
            reason="S3 and load balancers write access records only to a bucket that is under an S3-managed key",
            expires=date(2027, 11, 20),
            owner="security",
        )
        _accept_one_region(self)


class PrivateBucket(s3.Bucket):
    """Objects under our own key. Old versions stay for OLD_VERSIONS_DAYS."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        access_logs: s3.IBucket | None,
        name: str | None = None,
        kept_days: int | None = None,
        lock: s3.ObjectLockRetention | None = None,
        lifecycle: Sequence[s3.LifecycleRule] = (),
    ) -> None:
        """Create the bucket; its access records go to `access_logs`, or, in a region without one, to the trail only.

        Give a `name` only where AWS, or another account, must know it. Objects leave after `kept_days`; None keeps
        them. With a `lock` no version can be deleted or changed before its time.
        """
        super().__init__(
            scope,
            construct_id,
            bucket_name=name,
            object_lock_default_retention=lock,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"s3/{construct_id.lower()}/" if access_logs else None,
            metrics=[s3.BucketMetrics(id=ENTIRE_BUCKET)],
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=None if kept_days is None else Duration.days(kept_days),
                    noncurrent_version_expiration=Duration.days(OLD_VERSIONS_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
                *lifecycle,
            ],
        )
        if access_logs is None:
            accept(
                self,
                "AwsSolutions-S1",
                *(f"{pack}-S3BucketLoggingEnabled" for pack in (HIPAA, NIST, PCI)),
                reason="There is no log bucket in its account and region; the trail records every access to an object",
                expires=date(2027, 11, 20),
                owner="security",
            )
        _accept_one_region(self)


def _accept_one_region(bucket: s3.Bucket) -> None:
    accept(
        bucket,
        *(f"{pack}-S3BucketReplicationEnabled" for pack in (HIPAA, NIST, PCI)),
        reason="Customer data stays in Jakarta, the only region in Indonesia; S3 itself spreads it over three zones",
        expires=date(2027, 11, 20),
        owner="security",
    )
